"""What somebody agreed to is kept with a publication, so that nothing else is sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publications", sa.Column("agreed", sa.Text(), nullable=True))
