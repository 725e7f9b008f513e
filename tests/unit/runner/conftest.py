"""One zygote for all tests of the runner that do not kill it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.runner import RunnerPeer, runner_peer


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerPeer]:
    with runner_peer(tmp_path_factory.mktemp("runner")) as peer:
        yield peer


@pytest.fixture
def own_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerPeer]:
    """A zygote that the test may kill."""
    with runner_peer(tmp_path_factory.mktemp("own")) as peer:
        yield peer
