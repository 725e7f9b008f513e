"""The schema: hosts that start side by side on one PostgreSQL migrate it once."""

from __future__ import annotations

import subprocess
import sys

from tests.peers.postgres import PostgresPeer

MIGRATE = """
import sys
from broker.store.database import Database
from broker.store.schema import migrate
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
migrate(database)
"""


def test_two_hosts_migrate_at_the_same_time(postgres: PostgresPeer) -> None:
    url = postgres.new_database(migrated=False)
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for host in hosts:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
    for host in hosts:  # all at once
        assert host.stdin is not None
        host.stdin.write("\n")
        host.stdin.flush()
    said = [host.communicate(timeout=60)[1] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0, 0], "\n".join(said)
    postgres.drop(url)
