"""A broker in which there is one of everything, all of it alice's: what the matrix asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sqlalchemy import Table, insert, select, update

from broker.access import tokens as secrets_of
from broker.access.principal import Part, Scope
from broker.jobs.model import Phase
from broker.store import account_tables as rows
from broker.store import audit, budgets, sessions
from broker.store import tables as more
from broker.store.budgets import Budget
from broker.store.database import new_id
from broker.store.tables import metadata, now
from tests.api.server import TOOL, Server
from tests.security.people import NAME, TestIssuer, own_token, person

EVERY = tuple(one for one in Scope if one is not Scope.ADMIN)
NOT_COMPARED = {  # what reading alone may note
    "tokens": {"last_used"},
    "people": {"seen"},
    "sessions": {"seen"},
    "platforms": {"checked"},
}
NOBODYS = {"leases", "deliveries"}  # of the broker itself


@dataclass
class World:
    """`who`: headers by role; `owner`: alice's id. `things()` gives the ids of new things of alice's."""

    server: Server
    issuer: TestIssuer
    who: dict[str, dict[str, str]] = field(default_factory=dict)
    owner: str = ""
    session: str = "session-of-alice"
    numbers: Iterator[int] = field(default_factory=count)

    def fill(self) -> None:
        """People and their tokens; a platform."""
        database = self.server.database
        self.owner = person(database, self.issuer, "alice")
        other, operator = person(database, self.issuer, "bob"), person(database, self.issuer, "root")
        self.who = {
            "viewer": own_token(database, self.owner, Scope.READ)[0],
            "other": own_token(database, other, *EVERY)[0],
            "owner": own_token(database, self.owner, *EVERY)[0],
            "operator": own_token(database, operator, *Scope)[0],
        }
        with database.write() as tx:
            scopes = [one.value for one in EVERY]
            sessions.add(tx, secrets_of.digest(self.session), self.owner, NAME, scopes, 3600.0)
        self.server.site.gate.forget()
        self.server.platform()

    def things(self) -> dict[str, str]:
        """New ids by the names of path parameters (`name` depends on what it is the name of)."""
        server, mine, number = self.server, self.who["owner"], next(self.numbers)
        self.rest()
        process = f"say{number}"
        deployed = server.post(
            "/processes",
            data=TOOL.format(id=process).encode(),
            headers={"Content-Type": "application/cwl+yaml", **mine},
        )
        assert deployed.status_code == 201, deployed.text
        job = self.ended(process)
        server.log(job, "a line of the log")
        server.compared(job)
        publication = server.published(self.ended(process))
        begun = server.post("/uploads", headers=mine | {"Upload-Length": "5"})
        assert begun.status_code == 201, begun.text
        return {
            "process_id": process,
            "job_id": job,
            "publication_id": publication,
            "output": "said",
            "path": "a.txt",
            "upload_id": begun.json()["id"],
            "/targets": "osc",
            "/platforms": self.server.far(),
            "/static": "style.css",
            "/login": NAME,
            **self._account_things(number),
        }

    def ended(self, process: str) -> str:
        """A successful job of alice's."""
        job = self.job(process)
        said = {"class": "File", "location": "a.txt", "basename": "a.txt"}
        self.server.succeed(job, {"said": said}, {"a.txt": b"hello"})
        return job

    def job(self, process: str, **body: Any) -> str:
        """A job of alice's that waits. `body`: members of its request besides the inputs."""
        headers = {"Prefer": "respond-async", **self.who["owner"]}
        made = self.server.post(
            f"/processes/{process}/execution", json={"inputs": {"text": "x"}, **body}, headers=headers
        )
        assert made.status_code == 201, made.text
        return str(made.json()["jobID"])

    def _account_things(self, number: int) -> dict[str, str]:
        database = self.server.database
        project, member, code, invitation = f"lab{number}", f"member{number}", f"code{number}", new_id()
        _, token_id = own_token(database, self.owner, Scope.READ)
        with database.write() as tx:
            tx.execute(insert(rows.projects).values(id=project, title="Lab", owner=self.owner, created=now()))
            for one, part in ((self.owner, Part.MAINTAINER), (member, Part.VIEWER)):
                tx.execute(insert(rows.members).values(project=project, person=one, part=part.value, since=now()))
            tx.execute(
                insert(rows.invitations).values(
                    id=invitation, hash=secrets_of.digest(code), project=project, part=Part.MEMBER.value, note="",
                    invited_by=self.owner, created=now(), expires=now() + 3600.0,
                )
            )  # fmt: skip
        kept = self.server.put(
            f"/credentials/data{number}?test=false",
            json={"kind": "http", "origin": "https://data.example", "token": "a-token"},
            headers=self.who["owner"],
        )
        assert kept.status_code == 201, kept.text
        quota = self.server.put(f"/quotas/person/{member}", json={"queued": 9}, headers=self.who["operator"])
        assert quota.status_code < 300, quota.text
        with database.write() as tx:
            budgets.put(tx, Budget(project, "far", 5.0, "NoR-1"))
        return {
            "project_id": project,
            "project": project,
            "platform": "far",
            "person": member,
            "kind": "person",
            "subject": member,
            "code": code,
            "invitation_id": invitation,
            "token_id": token_id,
            "/credentials": f"data{number}",
        }

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of the database: what a refused request must leave as it is."""
        found = {}
        with self.server.database.read() as tx:
            for table in metadata.sorted_tables:
                if table.name not in NOBODYS:
                    columns = [c for c in table.c if c.name not in NOT_COMPARED.get(table.name, ())]
                    query = select(*columns)
                    if table is rows.audit:  # what was refused is written there in its own time
                        query = query.where(table.c.action != "request")
                    found[table.name] = sorted((tuple(row) for row in tx.execute(query)), key=repr)
        return found

    def audited(self, after: int) -> list[dict[str, Any]]:
        """What the audit holds after so many entries."""
        with self.server.database.read() as tx:
            return [row for row in audit.page(tx, limit=10**6) if row["action"] != "request"][after:]

    def rest(self) -> None:
        """Jobs that wait are over, projects are another's: nothing queued or made is in the way of what is counted."""
        jobs: Table = more.jobs
        with self.server.database.write() as tx:
            tx.execute(update(rows.projects).values(owner="another"))
            tx.execute(update(jobs).where(jobs.c.phase == Phase.ACCEPTED.value).values(phase=Phase.DISMISSED.value))
