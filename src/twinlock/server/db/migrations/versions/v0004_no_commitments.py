"""Nothing asks for an order by its commitment, and an index of random bytes is the dearest to keep"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_index("orders_by_commitment", table_name="orders")
