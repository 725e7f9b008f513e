"""Jobs as people name them: the whole id, the beginning or end of one, or `last`."""

from __future__ import annotations

from broker.cli.client import Client
from broker.cli.problems import UsageError
from broker.errors import NoSuchJob

WHOLE, SHORTEST = 36, 6  # characters: of an id (a UUID), and of a part of one that is looked for
LOOKED_AT = 2000  # of the newest jobs


def meant(client: Client, text: str) -> str:
    """The id of the one job whose id begins with a text (or ends with it, as the directories of results do).

    What no job is called is given back for the server to refuse. Raises UsageError where several fit, NoSuchJob for
    the last job where there is none.
    """
    if text == "last":
        for newest in client.jobs(limit=1):
            return str(newest["jobID"])
        raise NoSuchJob("You have no job yet.", hint="Run a package: broker run PACKAGE INPUTS")
    if not SHORTEST <= len(text) < WHOLE:
        return text
    wanted = text.lower()
    found = [str(one["jobID"]) for one in client.jobs(limit=LOOKED_AT)]
    fits = [one for one in found if one.startswith(wanted)] or [one for one in found if one.endswith(wanted)]
    if len(fits) > 1:
        shown = ", ".join(fits[:5]) + (", …" if len(fits) > 5 else "")
        raise UsageError(f"{len(fits)} jobs fit {text}.", hint=f"Give more of the id of one: {shown}")
    return fits[0] if fits else text
