"""Platforms that an operator added while the broker runs: kind and options, those that are secret sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.platform_tables import platform_configs
from broker.store.tables import now

p = platform_configs.c
_STATE = select(func.count(), func.max(p.changed))


@dataclass(frozen=True, slots=True)
class Config:
    """`options` as in broker.toml, without those that are in `sealed`."""

    name: str
    adapter: str
    options: Mapping[str, Any]
    sealed: bytes | None = field(default=None, repr=False)

    @property
    def bond(self) -> str:
        """What its secrets are sealed for."""
        return bond(self.name)


def bond(name: str) -> str:
    return f"platform:{name}"


def state(tx: Connection) -> tuple[int, float | None]:
    """Something that changes whenever a row does."""
    count, changed = tx.execute(_STATE).one()
    return int(count), changed


def every(tx: Connection) -> Sequence[Config]:
    rows = tx.execute(select(p.name, p.adapter, p.options, p.sealed).order_by(p.name))
    return [Config(row.name, row.adapter, row.options, row.sealed) for row in rows]


def put(tx: Connection, config: Config) -> None:
    """Insert or replace the row of this name."""
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    values = {"adapter": config.adapter, "options": dict(config.options), "sealed": config.sealed, "changed": now()}
    row = make(platform_configs).values(name=config.name, **values)
    tx.execute(row.on_conflict_do_update(index_elements=[p.name], set_=values))


def remove(tx: Connection, name: str) -> bool:
    """Whether there was one."""
    return bool(tx.execute(delete(platform_configs).where(p.name == name)).rowcount)


def reseal(tx: Connection, config: Config, new: bytes) -> bool:
    """Replace what is sealed, unless it has been replaced meanwhile."""
    same = update(platform_configs).where(p.name == config.name, p.sealed == config.sealed)
    return tx.execute(same.values(sealed=new)).rowcount == 1
