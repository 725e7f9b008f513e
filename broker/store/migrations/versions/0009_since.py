"""Since when a platform answers, or does not; in which currency a budget is; what jobs cost in accounts of people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("platforms", sa.Column("since", sa.Double(), nullable=True))
    op.add_column("budgets", sa.Column("currency", sa.Text(), nullable=True))
    op.add_column("accounts", sa.Column("own", sa.Boolean(), nullable=True))
