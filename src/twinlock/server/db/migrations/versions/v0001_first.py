"""The first schema"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("pubkey", sa.LargeBinary(length=33), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.create_table(
        "candles",
        sa.Column("market", sa.String(length=64), nullable=False),
        sa.Column("bin_ms", sa.BigInteger(), nullable=False),
        sa.Column("bin", sa.BigInteger(), nullable=False),
        sa.Column("start_stamp", sa.BigInteger(), nullable=False),
        sa.Column("end_stamp", sa.BigInteger(), nullable=False),
        sa.Column("match_volume", sa.BigInteger(), nullable=False),
        sa.Column("quote_volume", sa.BigInteger(), nullable=False),
        sa.Column("high_rate", sa.BigInteger(), nullable=False),
        sa.Column("low_rate", sa.BigInteger(), nullable=False),
        sa.Column("start_rate", sa.BigInteger(), nullable=False),
        sa.Column("end_rate", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("market", "bin_ms", "bin"),
    )
    op.create_table(
        "epochs",
        sa.Column("market", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("epoch_ms", sa.BigInteger(), nullable=False),
        sa.Column("match_time", sa.BigInteger(), nullable=False),
        sa.Column("csum", sa.LargeBinary(), nullable=False),
        sa.Column("seed", sa.LargeBinary(), nullable=False),
        sa.Column("revealed", sa.LargeBinary(), nullable=False),
        sa.Column("missed", sa.LargeBinary(), nullable=False),
        sa.Column("fee_rate_base", sa.BigInteger(), nullable=False),
        sa.Column("fee_rate_quote", sa.BigInteger(), nullable=False),
        sa.Column("match_volume", sa.BigInteger(), nullable=False),
        sa.Column("quote_volume", sa.BigInteger(), nullable=False),
        sa.Column("high_rate", sa.BigInteger(), nullable=False),
        sa.Column("low_rate", sa.BigInteger(), nullable=False),
        sa.Column("start_rate", sa.BigInteger(), nullable=False),
        sa.Column("end_rate", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("market", "epoch"),
    )
    op.create_table(
        "ledger",
        sa.Column("market", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("opening", sa.Boolean(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("market", "number"),
    )
    with op.batch_alter_table("ledger", schema=None) as batch_op:
        batch_op.create_index("ledger_openings", ["market", "opening", "number"], unique=False)

    op.create_table(
        "markets",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("quote", sa.BigInteger(), nullable=False),
        sa.Column("lot_size", sa.BigInteger(), nullable=False),
        sa.Column("epoch_ms", sa.BigInteger(), nullable=False),
        sa.Column("start_epoch", sa.BigInteger(), nullable=False),
        sa.Column("final_epoch", sa.BigInteger(), nullable=False),
        sa.Column("persist_book", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "matches",
        sa.Column("match_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("market", sa.String(length=64), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("forgiven", sa.Boolean(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("is_cancel", sa.Boolean(), nullable=False),
        sa.Column("taker_sells", sa.Boolean(), nullable=False),
        sa.Column("taker_order", sa.LargeBinary(length=32), nullable=False),
        sa.Column("taker_account", sa.LargeBinary(length=32), nullable=False),
        sa.Column("taker_address", sa.String(length=128), nullable=False),
        sa.Column("maker_order", sa.LargeBinary(length=32), nullable=False),
        sa.Column("maker_account", sa.LargeBinary(length=32), nullable=False),
        sa.Column("maker_address", sa.String(length=128), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=False),
        sa.Column("fee_rate_base", sa.BigInteger(), nullable=False),
        sa.Column("fee_rate_quote", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("epoch_ms", sa.BigInteger(), nullable=False),
        sa.Column("match_time", sa.BigInteger(), nullable=False),
        sa.Column("taker_swap_address", sa.String(length=128), nullable=False),
        sa.Column("maker_swap_address", sa.String(length=128), nullable=False),
        sa.Column("taker_match_sig", sa.LargeBinary(), nullable=False),
        sa.Column("maker_match_sig", sa.LargeBinary(), nullable=False),
        sa.Column("addresses_time", sa.BigInteger(), nullable=False),
        sa.Column("maker_contract", sa.LargeBinary(), nullable=False),
        sa.Column("maker_swap_coin", sa.LargeBinary(), nullable=False),
        sa.Column("maker_swap_time", sa.BigInteger(), nullable=False),
        sa.Column("maker_swap_sig", sa.LargeBinary(), nullable=False),
        sa.Column("taker_audit_sig", sa.LargeBinary(), nullable=False),
        sa.Column("taker_contract", sa.LargeBinary(), nullable=False),
        sa.Column("taker_swap_coin", sa.LargeBinary(), nullable=False),
        sa.Column("taker_swap_time", sa.BigInteger(), nullable=False),
        sa.Column("taker_swap_sig", sa.LargeBinary(), nullable=False),
        sa.Column("maker_audit_sig", sa.LargeBinary(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("maker_redeem_coin", sa.LargeBinary(), nullable=False),
        sa.Column("maker_redeem_time", sa.BigInteger(), nullable=False),
        sa.Column("maker_redeem_sig", sa.LargeBinary(), nullable=False),
        sa.Column("taker_redemption_sig", sa.LargeBinary(), nullable=False),
        sa.Column("taker_redeem_coin", sa.LargeBinary(), nullable=False),
        sa.Column("taker_redeem_time", sa.BigInteger(), nullable=False),
        sa.Column("taker_redeem_sig", sa.LargeBinary(), nullable=False),
        sa.Column("maker_redemption_sig", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("match_id"),
    )
    with op.batch_alter_table("matches", schema=None) as batch_op:
        batch_op.create_index("matches_by_activity", ["active", "market"], unique=False)
        batch_op.create_index("matches_by_maker", ["maker_account", "match_time"], unique=False)
        batch_op.create_index("matches_by_market_and_epoch", ["market", "match_time"], unique=False)
        batch_op.create_index("matches_by_taker", ["taker_account", "match_time"], unique=False)

    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("market", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("quote", sa.BigInteger(), nullable=False),
        sa.Column("order_type", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("sell", sa.Boolean(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("filled", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=False),
        sa.Column("force", sa.BigInteger(), nullable=False),
        sa.Column("post_only", sa.Boolean(), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.Column("max_matches", sa.BigInteger(), nullable=False),
        sa.Column("matches", sa.BigInteger(), nullable=False),
        sa.Column("coins", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.String(length=128), nullable=False),
        sa.Column("target", sa.LargeBinary(), nullable=False),
        sa.Column("epoch_gap", sa.BigInteger(), nullable=False),
        sa.Column("client_time", sa.BigInteger(), nullable=False),
        sa.Column("server_time", sa.BigInteger(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("preimage", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("epoch_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
    )
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.create_index("orders_by_account", ["account_id", "server_time"], unique=False)
        batch_op.create_index("orders_by_commitment", ["commitment"], unique=False)
        batch_op.create_index("orders_by_market_and_status", ["market", "status"], unique=False)

    op.create_table(
        "points",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("outcome_class", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.BigInteger(), nullable=False),
        sa.Column("link", sa.LargeBinary(), nullable=False),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    with op.batch_alter_table("points", schema=None) as batch_op:
        batch_op.create_index("points_by_account", ["account_id", "number"], unique=False)

    op.create_table(
        "prepaid_bonds",
        sa.Column("code", sa.LargeBinary(length=16), nullable=False),
        sa.Column("strength", sa.BigInteger(), nullable=False),
        sa.Column("lock_time_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_table(
        "bonds",
        sa.Column("asset_id", sa.BigInteger(), nullable=False),
        sa.Column("coin_id", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("strength", sa.BigInteger(), nullable=False),
        sa.Column("lock_time_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
        ),
        sa.PrimaryKeyConstraint("asset_id", "coin_id"),
    )
    with op.batch_alter_table("bonds", schema=None) as batch_op:
        batch_op.create_index("bonds_by_account", ["account_id"], unique=False)
