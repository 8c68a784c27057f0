"""What operators change is recorded; what is under way, and what was traded, is found without the rest of history"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_MARKET_ORDER = ("market", "server_time", "order_id")
_MARKET_MATCH = ("market", "match_time", "match_id")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("operator", sa.String(length=64), nullable=False),
        sa.Column("request", sa.String(length=512), nullable=False),
        sa.Column("body", sa.String(length=4096), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.drop_index("orders_by_market_and_status", "orders")
    op.drop_index("orders_by_account", "orders")
    op.create_index("orders_by_market", "orders", _MARKET_ORDER)
    op.create_index("orders_by_account", "orders", ["account_id", "server_time", "order_id"])
    _part("orders_active", "orders", _MARKET_ORDER, "status IN (1, 2)")
    for name in ("activity", "market_and_epoch", "taker", "maker"):
        op.drop_index(f"matches_by_{name}", "matches")
    op.create_index("matches_by_market", "matches", _MARKET_MATCH)
    for side in ("taker", "maker"):
        op.create_index(f"matches_by_{side}", "matches", [f"{side}_account", "match_time", "match_id"])
    sqlite = op.get_bind().dialect.name == "sqlite"
    _part("matches_active", "matches", _MARKET_MATCH, "active = 1" if sqlite else "active = true")
    _part("matches_traded", "matches", _MARKET_MATCH, "is_cancel = 0" if sqlite else "is_cancel = false")


def _part(name: str, table: str, columns: tuple[str, ...], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
