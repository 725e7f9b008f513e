"""Who waits on a platform, and who holds room there: what `claims.claim_next` decides from."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, or_, select, text, update

from broker.access.quota import WAITS, Kind, Quotas, Tenant, tenants, waits
from broker.jobs import schedule
from broker.jobs.model import Needs, Phase
from broker.store import quarantine
from broker.store.jobs import FIRST_MESSAGE
from broker.store.tables import ACTIVE_ROW, LIVE_ROW, jobs, now

NOBODY = " "  # no delegate is called so
c = jobs.c
# Statements are built once: SQLAlchemy takes longer to build one than SQLite to run it
FREE = or_(c.lease_until.is_(None), c.lease_until < now())
HERE = c.platform == bindparam("here")
ACCEPTED = (LIVE_ROW, HERE, c.phase == Phase.ACCEPTED.value)
_ANY = select(c.id).where(LIVE_ROW, HERE, c.phase.in_([Phase.ACCEPTED.value, Phase.SUBMITTING.value])).limit(1)
# A jump in the index for each owner and project that has something waiting, however much that is. Three steps where
# one comparison of rows would say the same: SQLite jumps by the first column of such a comparison only
_LINE = f"(select n.id from jobs n where n.platform = :here and n.phase = 'accepted' and n.{LIVE_ROW}"  # noqa: S608 - made of constants
_FIRST_OF_EACH = text(
    f"""with recursive heads(id) as (
      select {_LINE} order by n.priority, n.owner, n.project, n.id limit 1)
      union all
      select coalesce(
        {_LINE} and n.priority = h.priority and n.owner = h.owner and n.project > h.project
          order by n.project, n.id limit 1),
        {_LINE} and n.priority = h.priority and n.owner > h.owner order by n.owner, n.project, n.id limit 1),
        {_LINE} and n.priority > h.priority order by n.priority, n.owner, n.project, n.id limit 1))
      from heads join jobs h on h.id = heads.id
    ) select id from heads where id is not null"""  # noqa: S608 - made of constants
).columns(c.id)
_BUSY = or_(c.lease_until >= now(), c.dismiss_requested)
_WAITING = select(
    c.id,
    c.owner,
    c.project,
    c.delegate,
    c.priority,
    c.created,
    c.needs,
    c.message,
    func.coalesce(_BUSY, False).label("busy"),
)
_HEADS = _WAITING.where(c.id.in_(bindparam("ids", expanding=True)))
_NEXT = (
    _WAITING.where(*ACCEPTED, FREE, ~c.dismiss_requested)
    .where(c.priority == bindparam("prio"), c.owner == bindparam("of_owner"), c.project == bindparam("of_project"))
    .where(func.coalesce(c.delegate, "").not_in(bindparam("without", expanding=True)))
    .order_by(c.id)
    .limit(1)
)
_SAY = (
    update(jobs)
    .where(c.id == bindparam("of"), c.message != bindparam("text"))
    .values(message=bindparam("text"), updated=now())
)
_TENANT = (c.owner, c.project, c.delegate)
_LOAD = select(c.platform, *_TENANT, func.count(), func.sum(c.cores), func.sum(c.ram_mib)).where(ACTIVE_ROW)
_LOAD = _LOAD.group_by(c.platform, *_TENANT)
_LOAD_HERE = _LOAD.where(HERE)


def anything(tx: Connection, platform: str) -> bool:
    """Whether a job waits for a platform, or was being sent to it: asked before anything is locked."""
    return tx.execute(_ANY, {"here": platform}).first() is not None


class Active:
    """The jobs that hold room: on one platform, and where running jobs are limited on all of them."""

    def __init__(self, tx: Connection, platform: str, quotas: Quotas) -> None:
        self.by_owner: Counter[str] = Counter()
        self.by_project: Counter[str] = Counter()
        self._of: Counter[Tenant] = Counter()
        self._quotas = quotas
        count, cores, ram = 0, 0.0, 0
        for row in tx.execute(_LOAD) if quotas.of_running else tx.execute(_LOAD_HERE, {"here": platform}):
            where, owner, project, delegate, jobs_of, cores_of, ram_of = row
            if where == platform:
                count, cores, ram = count + jobs_of, cores + float(cores_of), ram + int(ram_of)
                self.by_owner[owner] += jobs_of
                self.by_project[project] += jobs_of
            if quotas.of_running:
                self._of.update(dict.fromkeys(tenants(owner, project, delegate), jobs_of))
        self.load = schedule.Load(count, cores, ram)

    def full(self, owner: str, project: str, delegate: str | None) -> dict[Kind, str]:
        """Whose running jobs are as many as may be, and what the next one has to say."""
        if not self._quotas.of_running:
            return {}
        found = {
            tenant.kind: waits(tenant, limits, self._of[tenant])
            for tenant, limits in self._quotas.limited(owner, project, delegate)
        }
        return {kind: text for kind, text in found.items() if text is not None}


def heads(tx: Connection, platform: str, active: Active) -> list[schedule.Waiting]:
    """The oldest waiting job of each owner, project and priority that may start as far as quotas go."""
    found = []
    first = list(tx.execute(_FIRST_OF_EACH, {"here": platform}).scalars())
    for row in tx.execute(_HEADS, {"ids": first}).all() if first else ():
        head: Any = row
        without = [NOBODY]
        while head is not None:
            full = active.full(head.owner, head.project, head.delegate)
            if full and not head.busy:
                say(tx, head.id, next(iter(full.values())))
            if not full and not head.busy:
                if head.message.startswith(WAITS):
                    say(tx, head.id, FIRST_MESSAGE)
                if read := quarantine.readable(tx, [head._mapping], _waiting):
                    found += read
                    break
            elif Kind.PERSON in full or Kind.PROJECT in full:
                break
            if full:
                without.append(head.delegate)
            where = {"prio": row.priority, "of_owner": row.owner, "of_project": row.project}
            head = tx.execute(_NEXT, {"here": platform, "without": without, **where}).first()
    return found


def _waiting(row: RowMapping) -> schedule.Waiting:
    needs = Needs.from_json(row["needs"])
    return schedule.Waiting(row["id"], row["owner"], row["project"], row["priority"], row["created"], needs)


def say(tx: Connection, job_id: str, message: str) -> None:
    """What a waiting job says of itself."""
    tx.execute(_SAY, {"of": job_id, "text": message})
