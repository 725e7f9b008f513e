"""`broker audit`: who did what for whom, and whether anybody has changed the record of it."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.client import Client
from broker.cli.console import AsJson, ConfigFile, Server, command, connect, moment, note, plain, put_json
from broker.cli.problems import UsageError
from broker.errors import BrokerError

app = typer.Typer(name="audit", invoke_without_command=True)
LOOK_SECONDS = 1.0
_AGO = re.compile(r"(\d{1,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Tampered(BrokerError):
    """The audit is not what was written."""

    fault = "broker"
    reason = "audit-changed"


@app.callback()
@command
def audit(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens now.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="7d, 12h, or 2026-01-31.", show_default=False)
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Only what this person did (its id).", show_default=False)] = None,
    project: Annotated[str | None, typer.Option(help="Only for this project (its id).", show_default=False)] = None,
    action: Annotated[str | None, typer.Option(help="Only this verb: deploy, execute …", show_default=False)] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write all of it to a file, as JSON lines.", show_default=False)
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Print who did what for whom; check that nobody changed the record of it.

    Oldest first: your own entries; as an operator all of them. With --json each entry is one line.

    Example:

        broker audit --since 7d --action deploy
    """
    if context.invoked_subcommand is not None:
        return
    given = {"actor": actor, "project": project, "action": action, "since": _moment(since)}
    filters = {name: value for name, value in given.items() if value}
    with connect(server) as client, ExitStack() as files:
        to = sys.stdout if export is None else files.enter_context(_opened(export))
        count, last = 0, 0
        for entry in _entries(client, filters, follow):
            whole = as_json or export is not None
            print(json.dumps(entry, ensure_ascii=False) if whole else _line(entry), file=to, flush=follow)
            count, last = count + 1, entry["id"]
    if export is not None:
        note(f"{count} entries in {export}, the last with the id {last}. Check it: broker audit verify {export}")


def _opened(file: Path) -> Any:
    """For its owner's eyes only. Raises UsageError where there is a file already."""
    try:
        file.touch(mode=0o600, exist_ok=False)
        return file.open("w", encoding="utf-8")
    except FileExistsError:
        raise UsageError(f"There is a file {file} already.", hint="Choose another name.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from None


def _entries(client: Client, filters: Mapping[str, str], follow: bool) -> Iterator[dict[str, Any]]:
    after = 0
    while True:
        for entry in client.pages("/audit", "entries", {**filters, "after": after, "limit": 1000}, None):
            after = entry["id"]
            yield entry
        if not follow:
            return
        time.sleep(LOOK_SECONDS)


def _line(entry: Mapping[str, Any]) -> str:
    who = entry["actor"] + (f" (by {entry['delegate']})" if entry["delegate"] else "")
    what = f"{entry['action']} {entry['subject']}" + ("" if entry["outcome"] == "done" else f" {entry['outcome']}")
    more = " ".join(f"{name}={value}" for name, value in (entry["data"] or {}).items())
    where = f"from {entry['address']}" if entry["address"] else ""
    parts = (moment(entry["time"]), who, what, f"for {entry['project']}", where, more)
    return plain("  ".join(part for part in parts if part)).replace("\n", " ")


def _moment(text: str | None) -> str | None:
    """`7d` ago as a time; times as they are."""
    if text is None or (found := _AGO.fullmatch(text.strip())) is None:
        return text
    ago = timedelta(**{_UNITS[found[2]]: int(found[1])})
    return (datetime.now(UTC) - ago).isoformat(timespec="seconds").replace("+00:00", "Z")


@app.command()
@command
def verify(
    export: Annotated[
        Path | None, typer.Argument(help="A whole export of earlier, to compare with.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    state: Annotated[
        Path | None, typer.Option(help="The broker's state directory, as for `broker up`.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that no entry was changed, taken out or put in since it was written. Exit code 1 if one was.

    Each entry has the hash of all before it. Who can write the database could make the whole chain anew, or cut its
    end off: keep exports elsewhere, and give one here to find that too. This reads the database that broker.toml names.

    Example:

        broker audit verify audit-2026-10.jsonl
    """
    from broker.settings import load
    from broker.store import audit as rows
    from broker.store.database import Database

    settings = load(config)
    if state is not None:
        settings = settings.model_copy(update={"state": state.absolute()})
    with closing(Database(settings.database, pool_size=1)) as database, database.read() as tx:
        wrong = rows.verify(tx)
        if wrong is not None:
            raise Tampered(f"The entry {wrong} is not what was written, or one before it is gone.")
        kept = _export(export) if export is not None else []
        if kept and (wrong := rows.first_wrong(kept)) is not None:
            raise Tampered(f"The entry {wrong} of {export} is not what was written, or {export} is not a whole export.")
        if kept and rows.hash_of(tx, kept[-1]["id"]) != kept[-1]["hash"]:
            raise Tampered(f"The database does not go on from {export}: it was written anew, or cut, since then.")
    if as_json:
        put_json({"ok": True, "compared": len(kept)})
    else:
        note(f"The audit is as it was written{f', and goes on from {export}' if export else ''}.")


def _export(file: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [{name: value for name, value in row.items() if name != "time"} for row in rows]
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{file} is no export of the audit: {error}") from None
