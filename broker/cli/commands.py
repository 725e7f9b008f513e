"""The commands by name, each loaded when it is called: `broker --help` must not wait for what it does not need."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Annotated

import typer
from typer._click import Command, Context
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


@dataclass(frozen=True, slots=True)
class Entry:
    """`module` of broker.cli that has the command in its `app`; `help` is the first line of its own help."""

    module: str
    panel: str
    help: str


_RUN, _ASK, _OWN = "Run packages", "Jobs and processes", "Your own broker"
COMMANDS = {
    "run": Entry("run", _RUN, "Run a package with a job order, and bring the results here."),
    "deploy": Entry("deploy", _RUN, "Deploy a package, so that it can be run by its id."),
    "check": Entry("deploy", _RUN, "Say what is wrong with a package and its inputs, without running it."),
    "upload": Entry("upload", _RUN, "Uploads: files that lie at the broker, for jobs to take as inputs."),
    "jobs": Entry("jobs", _ASK, "List your jobs, newest first."),
    "status": Entry("jobs", _ASK, "Say how a job is doing."),
    "logs": Entry("jobs", _ASK, "Print what the steps of a job wrote."),
    "results": Entry("jobs", _ASK, "Show the results of a job, download them, or delete them."),
    "dismiss": Entry("jobs", _ASK, "Stop a job."),
    "processes": Entry("processes", _ASK, "List what can be run."),
    "undeploy": Entry("processes", _ASK, "Take a process away; its jobs stay."),
    "platforms": Entry("platforms", _ASK, "List where jobs can run; operators add, remove, pause and check platforms."),
    "usage": Entry(
        "usage", _ASK, "What your jobs, and those of your projects, took and cost; for operators everybody's."
    ),
    "project": Entry("projects", _ASK, "Projects: people who share what they make."),
    "invitation": Entry("projects", _ASK, "Accept an invitation to a project."),
    "share": Entry("share", _ASK, "Show a process, a job or an upload to a project, to everybody, or to nobody."),
    "quota": Entry(
        "quota", _ASK, "Say what you may have here, have, and have left; operators set the quotas of others."
    ),
    "login": Entry("login", _ASK, "Log in with an account that you have."),
    "logout": Entry("login", _ASK, "Forget the login, or the token, that is kept for a server."),
    "whoami": Entry("login", _ASK, "Say who you are to a broker, and what you may do there."),
    "up": Entry("up", _OWN, "Start the broker here, until Ctrl-C."),
    "init": Entry("init", _OWN, "Write a broker.toml with every setting explained."),
    "doctor": Entry("doctor", _OWN, "Say what is missing on this machine, and what mends it."),
    "token": Entry("token", _OWN, "Make, list and revoke the tokens of your broker; keep those you were given."),
    "audit": Entry("audit", _OWN, "Print who did what for whom; check that nobody changed the record of it."),
    "credential": Entry("credential", _ASK, "Credentials that the broker uses in your name."),
    "callback": Entry(
        "callback", _ASK, "Callbacks: what the subscribers of your jobs were told, and the secret that signs it."
    ),
    "prov": Entry("prov", _ASK, "Print the provenance of a job that has ended, also of one that failed."),
    "crate": Entry(
        "prov",
        _ASK,
        "Bring the run crate of a job: the package as it was run, and the record of where its results come from.",
    ),
    "publish": Entry("publish", _ASK, "Publish the results of jobs, a process, or data that lies elsewhere."),
    "publications": Entry("publication", _ASK, "List publications, newest first."),
    "publication": Entry("publication", _ASK, "A publication: what became of it, and what people do with it."),
    "reproduce": Entry(
        "reproduce",
        _RUN,
        "Run an experiment again from what was published of it, and compare what it makes with what was published.",
    ),
    "compare": Entry(
        "compare",
        _ASK,
        "Compare the outputs of two runs: identical, equivalent within the tolerance, or different, and where.",
    ),
    "comparison": Entry("comparison", _ASK, "Comparisons of a job: list them, or take one back."),
    "version": Entry("version", _OWN, "Print the version."),
}


def load(name: str) -> Command:
    """The command itself."""
    module = import_module(f"broker.cli.{COMMANDS[name].module}")
    group = get_group(module.app)
    return group if name == group.name else group.commands[name]


class LazyGroup(TyperGroup):
    """Knows the commands' names and first lines; loads the one that is called."""

    def list_commands(self, ctx: Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        return TyperCommand(cmd_name, help=entry.help, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        self.commands = dict.fromkeys(COMMANDS, TyperCommand("?"))  # what a typing error is compared with
        name, found, rest = super().resolve_command(ctx, args)
        return name, found if name is None else load(name), rest


app = typer.Typer(
    name="broker",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


HELP = """\
Runs application packages of Earth scientists: on your own machine, and on many platforms.

Every command has --help with an example, and --json for programs.

Exit codes: 0 all is well, 1 the job or the package failed, 2 wrong use, 3 no broker answers, \
33 the package asks for a feature that is not supported.
"""


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("earthcode-broker"))
        raise typer.Exit


@app.callback(help=HELP, epilog="Start with: broker up   Then, in another window: broker run PACKAGE INPUTS")
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...
