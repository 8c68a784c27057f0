"""A fee scale that the operator set outlives a restart"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "fee_scales",
        sa.Column("symbol", sa.String(length=16), nullable=False),
        sa.Column("scale", sa.BigInteger(), nullable=False),
        sa.Column("configured", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("symbol"),
    )
