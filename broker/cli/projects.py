"""`broker project` and `broker invitation`: people who share what they make."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from broker.cli.client import Client
from broker.cli.console import AsJson, Server, command, connect, moment, note, put_json, put_table
from broker.cli.problems import UsageError

app = typer.Typer()
project = typer.Typer(name="project", no_args_is_help=True, help="Projects: people who share what they make.")
invitation = typer.Typer(name="invitation", no_args_is_help=True, help="Accept an invitation to a project.")
app.add_typer(project)
app.add_typer(invitation)

Id = Annotated[str, typer.Argument(metavar="PROJECT", help="The project's id.", show_default=False)]
Code = Annotated[str, typer.Argument(metavar="CODE|LINK", help="The link, or the code at its end.", show_default=False)]
As = Annotated[str, typer.Option("--as", help="viewer, member or maintainer.")]
Person = Annotated[
    str, typer.Argument(metavar="PERSON", help="The person's id: see `broker project members`.", show_default=False)
]


@project.command("list")
@command
def listing(
    everybody: Annotated[bool, typer.Option("--all", help="As an operator: everybody's.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List your projects.

    Example:

        broker project list
    """
    with connect(server) as client:
        found = list(client.projects(everybody=everybody))
    if as_json:
        put_json(found)
        return
    rows = ((one["id"], one.get("part", ""), moment(one["created"]), one["title"]) for one in found)
    put_table(("PROJECT", "YOU ARE", "MADE", "TITLE"), rows)


@project.command()
@command
def create(
    project: Id,
    title: Annotated[str, typer.Option(help="What people read. Default: the id.", show_default=False)] = "",
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Make a project; you are its maintainer.

    Example:

        broker project create water-quality --title "Water quality"
    """
    with connect(server) as client:
        made = client.json("POST", "/projects", json={"id": project, "title": title})
    _said(made, f"Made the project {project}. Invite people: broker project invite {project}", as_json)


@project.command()
@command
def show(project: Id, server: Server = None, as_json: AsJson = False) -> None:
    """Show a project and its members.

    Example:

        broker project show water-quality
    """
    with connect(server) as client:
        found = client.project(project)
        people = client.members(project)
    if as_json:
        put_json({**found, "members": people})
        return
    note(f"{found['title']} ({found['id']}); you are: {found.get('part', 'an operator, no member')}")
    _people(people)


@project.command()
@command
def members(project: Id, server: Server = None, as_json: AsJson = False) -> None:
    """List who belongs to a project.

    Example:

        broker project members water-quality
    """
    with connect(server) as client:
        found = client.members(project)
    if as_json:
        put_json(found)
    else:
        _people(found)


def _people(found: list[dict[str, Any]]) -> None:
    rows = ((one["name"], one["part"], moment(one["since"]), one["person"]) for one in found)
    put_table(("NAME", "PART", "SINCE", "PERSON"), rows)


@project.command()
@command
def invite(
    project: Id,
    part: As = "member",
    message: Annotated[str, typer.Option("--note", help="Whoever opens the link reads it.", show_default=False)] = "",
    days: Annotated[int, typer.Option(min=1, help="How long it can be accepted.")] = 14,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Make an invitation: a link that works once, and is shown only now.

    Example:

        broker project invite water-quality --as viewer --days 3
    """
    with connect(server) as client:
        body = {"part": part, "note": message, "days": days}
        made = client.json("POST", client.project_path(project, "invitations"), json=body)
    if as_json:
        put_json(made)
        return
    print(made["href"])
    note(f"Send this link to whom you invite: it works once, until {moment(made['expires'])}, and is not shown again.")


@project.command()
@command
def invitations(project: Id, server: Server = None, as_json: AsJson = False) -> None:
    """List the invitations that nobody has accepted yet.

    Example:

        broker project invitations water-quality
    """
    with connect(server) as client:
        found = client.json("GET", client.project_path(project, "invitations"))["invitations"]
    if as_json:
        put_json(found)
        return
    rows = ((one["id"], one["part"], moment(one["expires"]), one["note"]) for one in found)
    put_table(("INVITATION", "PART", "EXPIRES", "NOTE"), rows)


@project.command()
@command
def revoke(
    project: Id,
    invitation: Annotated[str, typer.Argument(metavar="INVITATION", help="Its id.", show_default=False)],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Take an invitation back.

    Example:

        broker project revoke water-quality 0199c8a4-…
    """
    said = {"id": invitation, "action": "revoked"}
    _delete(server, (project, "invitations", invitation), said, "The invitation is revoked.", as_json)


@project.command()
@command
def rename(
    project: Id,
    title: Annotated[str, typer.Argument(metavar="TITLE", show_default=False)],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Give a project another title; its id stays.

    Example:

        broker project rename water-quality "Clear water"
    """
    with connect(server) as client:
        changed = client.json("PUT", client.project_path(project), json={"title": title})
    _said(changed, f"The project {project} is called {changed['title']!r} now.", as_json)


@project.command("part")
@command
def change_part(
    project: Id,
    person: Person,
    part: As,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Change what a member is. (An operator also adds people so.)

    Example:

        broker project part water-quality p7kq… --as maintainer
    """
    with connect(server) as client:
        changed = client.json("PUT", client.project_path(project, "members", person), json={"part": part})
    _said(changed, f"{person} is a {part} of {project} now.", as_json)


@project.command()
@command
def remove(project: Id, person: Person, server: Server = None, as_json: AsJson = False) -> None:
    """Take somebody out of a project.

    Example:

        broker project remove water-quality p7kq…
    """
    said = {"person": person, "action": "removed"}
    _delete(server, (project, "members", person), said, f"{person} does not belong to {project} any more.", as_json)


@project.command()
@command
def leave(project: Id, server: Server = None, as_json: AsJson = False) -> None:
    """Leave a project.

    Example:

        broker project leave water-quality
    """
    said = {"id": project, "action": "left"}
    _delete(server, (project, "members", "me"), said, f"You have left {project}.", as_json)


@project.command()
@command
def delete(project: Id, server: Server = None, as_json: AsJson = False) -> None:
    """Delete a project in which nothing is shared and nothing runs any more.

    Example:

        broker project delete water-quality
    """
    said = {"id": project, "action": "deleted"}
    _delete(server, (project,), said, f"Deleted the project {project}.", as_json)


@invitation.command()
@command
def accept(code: Code, server: Server = None, as_json: AsJson = False) -> None:
    """Accept an invitation: you belong to the project then.

    Example:

        broker invitation accept https://broker.example/invitations/pN7…
    """
    with connect(server) as client:
        joined = client.json("POST", f"/invitations/{_code(client, code)}")
    _said(joined, f"You are a {joined['part']} of {joined['title']} ({joined['id']}) now.", as_json)


def _code(client: Client, given: str) -> str:
    """The code of a link or of itself. Raises UsageError for another server's link: its code is not for ours."""
    if "/" not in given:
        return given
    before, _, code = given.rpartition("/invitations/")
    if not code or "/" in code:
        raise UsageError(f"{given} is not the link of an invitation.")
    if not client.is_mine(before):
        raise UsageError(f"The invitation is of {before}, not of {client.server}.", hint=f"Add: --server {before}")
    return code


def _delete(server: str | None, place: tuple[str, ...], document: Any, words: str, as_json: bool) -> None:
    """Delete what is at a place below /projects, and say so."""
    with connect(server) as client:
        client.request("DELETE", client.project_path(*place))
    _said(document, words, as_json)


def _said(document: Any, words: str, as_json: bool) -> None:
    if as_json:
        put_json(document)
    else:
        note(words)
