"""`broker audit` against a broker that runs, and the check of its chain on the database."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from broker.store.database import Database
from tests.cli.conftest import Broker
from tests.peers.broker import BrokerPeer, wait_for

TOOL = "cwlVersion: v1.2\nclass: CommandLineTool\nid: {id}\nbaseCommand: echo\ninputs: []\noutputs: []\n"


@pytest.fixture
def exported(broker: Broker, peer: BrokerPeer, alone: Path) -> Path:
    """An export of a broker with some entries."""
    peer.deploy(TOOL.format(id=f"audited-{alone.parent.name}".lower().replace("_", "-")[:40]))
    file = alone / "audit.jsonl"
    said = broker("audit", "--export", file)
    assert said.code == 0, said.err
    assert "entries in" in said.err
    return file


def test_it_is_printed(broker: Broker, exported: Path) -> None:
    said = broker("audit")
    assert "deploy process/" in said.out
    assert "local" in said.out
    rows = [json.loads(line) for line in broker("audit", "--json", "--action", "deploy").out.splitlines()]
    assert {row["action"] for row in rows} == {"deploy"}
    assert broker("audit", "--json", "--since", "1d").out.count("\n") >= len(rows)
    assert broker("audit", "--json", "--since", "2999-01-01").out == ""
    assert broker("audit", "--since", "soon").code == 2


def interrupted(command: subprocess.Popen[bytes]) -> bool:
    """Ctrl-C, until it has ended: Python drops one that comes while it frees an object."""
    command.send_signal(signal.SIGINT)
    try:
        command.wait(2)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_it_is_followed(peer: BrokerPeer, alone: Path) -> None:
    peer.deploy(TOOL.format(id="followed-one"))
    said = alone / "said"
    command = [sys.executable, "-m", "broker.cli", "audit", "--follow", "--action", "deploy", "--server", peer.url]
    with said.open("w") as out:
        following = subprocess.Popen(command, stdout=out)
    try:
        wait_for(lambda: "process/followed-one" in said.read_text(), 30, said.read_text)
        peer.deploy(TOOL.format(id="followed-two"))
        wait_for(lambda: "process/followed-two" in said.read_text(), 30, said.read_text)
    finally:
        wait_for(lambda: interrupted(following), 30, lambda: "it goes on")
    assert following.returncode == 130


def test_an_export_is_its_owners_alone_and_new(broker: Broker, exported: Path) -> None:
    assert exported.stat().st_mode & 0o777 == 0o600
    said = broker("audit", "--export", exported)
    assert said.code == 2
    assert "already" in said.err


def test_the_chain_is_checked(command: Broker, exported: Path, peer: BrokerPeer, tmp_path: Path) -> None:
    good = command("audit", "verify", exported, "--state", peer.state)
    assert (good.code, "goes on from" in good.err) == (0, True), good.err
    lines = exported.read_text().splitlines()
    forged = json.loads(lines[0]) | {"actor": "somebody else"}
    changed = tmp_path / "changed.jsonl"
    changed.write_text("\n".join([json.dumps(forged), *lines[1:]]))
    assert command("audit", "verify", changed, "--state", peer.state).code == 1
    longer = tmp_path / "longer.jsonl"
    longer.write_text("not json")
    assert command("audit", "verify", longer, "--state", peer.state).code == 2


def test_a_chain_made_anew_is_found_by_an_export(
    command: Broker, exported: Path, peer: BrokerPeer, tmp_path: Path
) -> None:
    """Which the chain itself cannot tell."""
    copy = tmp_path / "copy"
    copy.mkdir()
    database = Database(f"sqlite:///{peer.state / 'broker.db'}")
    with database.read() as tx:
        tx.execute(text("vacuum into :file"), {"file": str(copy / "broker.db")})
    database.close()
    other = Database(f"sqlite:///{copy / 'broker.db'}")
    with other.write() as tx:
        tx.execute(text("drop trigger audit_no_delete"))
        tx.execute(text("delete from audit where id = (select max(id) from audit)"))
    other.close()
    assert command("audit", "verify", "--state", copy).code == 0
    said = command("audit", "verify", exported, "--state", copy)
    assert said.code == 1
    assert "cut" in said.err
