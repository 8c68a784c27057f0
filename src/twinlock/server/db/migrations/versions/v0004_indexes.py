"""Indexes as they are asked: outcomes by class, and no commitments, which nothing asked for"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_index("orders_by_commitment", table_name="orders")
    op.drop_index("points_by_account", table_name="points")
    op.create_index("points_by_class", "points", ["account_id", "outcome_class", "number"])
