"""The tables of platforms: those added while the broker runs, their pace; what jobs cost there and who pays for it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, Table, Text

from broker.store.tables import Json, metadata

platform_configs = Table(  # platforms that an operator added while the broker runs; the others are in broker.toml
    "platform_configs",
    metadata,
    Column("name", Text, primary_key=True),
    Column("adapter", Text, nullable=False),
    Column("options", Json, nullable=False),
    Column("sealed", LargeBinary),  # the options that are secret
    Column("changed", Double, nullable=False),
)

platform_pace = Table(  # how gently a platform is called; see `broker.execution.courtesy`
    "platform_pace",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tokens", Double, nullable=False),
    Column("at", Double, nullable=False),  # when there were so many tokens
    Column("failures", Integer, nullable=False),  # calls in a row that it did not answer
    Column("closed_until", Double, nullable=False),  # nobody calls it before
)

budgets = Table(  # what a project may spend on a platform in a month, and who pays
    "budgets",
    metadata,
    Column("project", Text, primary_key=True),
    Column("platform", Text, primary_key=True),
    Column("credits", Double),  # None: unlimited
    Column("sponsorship", Text),  # of the Network of Resources
    Column("changed", Double, nullable=False),
    Column("currency", Text),  # None: whichever the platform's costs are in, each for itself
)

accounts = Table(  # what each job took, written with its end; it outlives the job
    "accounts",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("delegate", Text),
    Column("platform", Text, nullable=False),
    Column("process_id", Text, nullable=False),
    Column("sponsorship", Text),
    Column("phase", Text, nullable=False),
    Column("ended", Double, nullable=False),
    Column("held_seconds", Double, nullable=False),  # of all attempts
    Column("core_seconds", Double, nullable=False),  # cores that it asked for, times how long it held them
    Column("mib_seconds", Double, nullable=False),  # the same of memory
    Column("cpu_seconds", Double, nullable=False),  # what its steps were measured to use
    Column("bytes", BigInteger, nullable=False),  # of kept results
    Column("credits", Double),  # None: nobody said
    Column("currency", Text),
    Column("own", Boolean),  # the owner paid, in an account of their own at the platform: no budget, no sponsorship
)
Index("ix_accounts_owner", accounts.c.owner, accounts.c.ended)
Index("ix_accounts_project", accounts.c.project, accounts.c.platform, accounts.c.ended)
Index("ix_accounts_process", accounts.c.process_id, accounts.c.platform, accounts.c.ended)
Index("ix_accounts_ended", accounts.c.ended)
