"""The life of a publication, on paper: nothing that is there for good goes on, and sentences say how it is."""

from __future__ import annotations

import pytest

from broker.jobs import publication as life
from broker.jobs.publication import State


def test_every_state_is_reached_and_what_is_lost_stays_lost() -> None:
    reached = {State.AWAITING, State.PENDING, State.WAITING}  # where they begin
    while more := {to for state in reached for to in life.LEGAL[state]} - reached:
        reached |= more
    assert reached == set(State)
    assert all(not life.LEGAL[state] for state in (*life.LOST, State.PUBLISHED, State.LIVE))
    assert not life.HOLDING & (life.DONE | life.LOST)
    with pytest.raises(life.IllegalTransition):
        life.check(State.MERGED, State.WITHDRAWN)
    life.check(State.SENDING, State.SENDING)


@pytest.mark.parametrize(
    ("state", "receipt", "said"),
    [
        (State.SENDING, None, "It is being sent."),
        (State.SENDING, {"state": "forking"}, "The catalog is copied to a repository of yours."),
        (
            State.SENDING,
            {
                "items": {
                    "a": {"state": "registered", "sent": ["x", "y"], "assets": {"x": {}}},
                    "b": {"state": "staging"},
                }
            },
            "2 files are sent, 1 of 2 items registered, 1 files looked at there.",
        ),
        (State.PROPOSED, {}, "It is proposed: somebody there has to merge it."),
        (
            State.PROPOSED,
            {"checks": "failed", "failed": [{"name": "validate"}], "review": "approved"},
            "It is proposed: somebody there has to merge it. Its checks fail: validate. A reviewer agrees.",
        ),
        (
            State.PROPOSED,
            {"checks": "passed", "review": "changes requested", "asked": [{"by": "ada", "text": "No DOI."}]},
            "It is proposed: somebody there has to merge it. Its checks pass. Changes are asked for (ada: No DOI.): "
            "withdraw it and publish a correction.",
        ),
    ],
)
def test_what_a_person_reads(state: State, receipt: dict[str, object] | None, said: str) -> None:
    assert life.said(state, receipt) == said
