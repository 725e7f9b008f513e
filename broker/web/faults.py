"""Whose fault a failed job is, and what to do about it, by the fault and the reason that it has."""

from __future__ import annotations

from collections.abc import Mapping

WHOSE: Mapping[str, str] = {
    "package": "the package's",
    "input": "the inputs'",
    "platform": "the platform's",
    "staging": "of an input that could not be fetched",
    "limit": "of a limit that was reached",
    "broker": "the broker's",
}
BY_FAULT: Mapping[str, str] = {
    "package": "Its author has to mend the package. Send them this page, or the log below; then deploy it again.",
    "input": "Run it again with other inputs.",
    "platform": "Run it again. If it fails again, tell the operator of the platform.",
    "staging": "Check the address of the input, and that the broker may read it; then run it again.",
    "limit": "Make the work smaller, or ask the operator of this broker for more.",
    "broker": "Run it again. If it fails again, tell the operator of this broker which job it was.",
}
BY_REASON: Mapping[str, str] = {
    "tool-failed": "The log below is what the program said last. If it complains about an input, run the job again "
    "with another one; else the author of the package has to mend the program.",
    "invalid-package": "Its author has to mend the package where the message says; then deploy it again.",
    "unsupported-requirement": "The package asks for what no platform here offers: its author can leave that out, or "
    "the operator of this broker can add a platform that has it.",
    "expression-failed": "An expression of the package went wrong: its author has to mend it, or to say which inputs "
    "it takes.",
    "output-missing": "A program ended well without writing what the package promises. Look into the log whether it "
    "found nothing to do with these inputs; else its author has to mend the output's glob.",
    "output-refused": "The package tried to give out files that are not its own. Its author has to mend that.",
    "input-unreachable": "Open the address in a browser: is it right, and does it need a login? Credentials for it are "
    "added under Credentials. Then run the job again.",
    "time-limit": "Run it on less data. If the package says how long it takes (ToolTimeLimit), its author may raise "
    "that; else ask the operator of this broker for more time.",
    "out-of-memory": "Run it on less data, or ask the author of the package to ask for more memory "
    "(ResourceRequirement, ramMin).",
    "too-many-processes": "The package starts more processes than a job may have. Its author can bound them.",
    "output-too-large": "Let the package write less, or ask the operator of this broker for a larger limit.",
    "disk-limit": "Run it on less data, or in parts; else ask the operator of this broker for more room on disk.",
    "lost": "The platform lost the job more often than it is tried again. Run it again, or ask the operator of the "
    "platform what happened.",
    "no-platform": "No platform here can run it. Ask the operator of this broker.",
    "scatter-too-wide": "Run it on shorter lists, or ask the operator of this broker for a larger quota.",
    "storage": "The operator of this broker has to look at its storage; then run it again.",
}


def whose(fault: str) -> str:
    """`Whose fault: ...`"""
    return WHOSE.get(fault, fault)


def what_to_do(fault: str, reason: str) -> str:
    """A sentence or two for who looks at the failed job."""
    return BY_REASON.get(reason) or BY_FAULT.get(fault, BY_FAULT["broker"])
