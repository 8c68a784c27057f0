"""The tables: what must survive a restart (protocol section 10.1), in plain SQL that SQLite and PostgreSQL share.

Times are milliseconds since the Unix epoch unless a column ends in `_s`; amounts are atoms; IDs, hashes and
signatures are raw bytes. An unsigned 64-bit value of the wire never exceeds 2^63-1 here: the intake refuses it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from twinlock.protocol.orders import OrderStatus

metadata = sa.MetaData()

_ID = sa.LargeBinary(32)
_BYTES = sa.LargeBinary
_INT = sa.BigInteger


def _bytes(name: str) -> sa.Column[bytes]:
    """A byte string that is empty until it is known."""
    return sa.Column(name, _BYTES, nullable=False, default=b"")


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, _INT, nullable=False, default=0)


meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", _BYTES, nullable=False),
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", _ID, primary_key=True),
    sa.Column("pubkey", sa.LargeBinary(33), nullable=False),
    _int("created"),
)

bonds = sa.Table(
    "bonds",
    metadata,
    sa.Column("asset_id", _INT, primary_key=True),
    sa.Column("coin_id", _BYTES, primary_key=True),
    sa.Column("account_id", _ID, sa.ForeignKey("accounts.account_id"), nullable=False),
    _int("version"),
    _int("amount"),
    _int("strength"),
    _int("lock_time_s"),
    sa.Index("bonds_by_account", "account_id"),
)

prepaid_bonds = sa.Table(
    "prepaid_bonds",
    metadata,
    sa.Column("code", sa.LargeBinary(16), primary_key=True),
    _int("strength"),
    _int("lock_time_s"),
)

points = sa.Table(
    "points",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("account_id", _ID, nullable=False),
    _int("outcome_class"),
    _int("outcome"),
    _bytes("link"),
    _int("stamp"),
    sa.Index("points_by_class", "account_id", "outcome_class", "number"),
)
"""One row per outcome, in order: class and outcome are the codes of section 10.1, link the match or order."""

markets = sa.Table(
    "markets",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    _int("base"),
    _int("quote"),
    _int("lot_size"),
    _int("epoch_ms"),
    _int("start_epoch"),
    _int("final_epoch"),
    sa.Column("persist_book", sa.Boolean, nullable=False, default=True),
)
"""final_epoch is 0 unless a suspension is scheduled or in effect."""

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("order_id", _ID, primary_key=True),
    sa.Column("market", sa.String(64), nullable=False),
    sa.Column("account_id", _ID, nullable=False),
    _int("base"),
    _int("quote"),
    _int("order_type"),
    _int("status"),
    sa.Column("sell", sa.Boolean, nullable=False, default=False),
    _int("quantity"),
    _int("filled"),
    _int("rate"),
    _int("force"),
    sa.Column("post_only", sa.Boolean, nullable=False, default=False),
    _int("expiry"),
    _int("max_matches"),
    _int("matches"),
    _bytes("coins"),
    sa.Column("address", sa.String(128), nullable=False, default=""),
    _bytes("target"),
    _int("epoch_gap"),
    _int("client_time"),
    _int("server_time"),
    _bytes("commitment"),
    _bytes("preimage"),
    _int("epoch"),
    _int("epoch_ms"),
    sa.Index("orders_by_market", "market", "server_time", "order_id"),
    sa.Index("orders_by_account", "account_id", "server_time", "order_id"),
)
"""Trade and cancel orders. `coins` is a list of coin IDs as a JSON array of hex; epoch_gap is for cancels, -1
where it never took effect."""

matches = sa.Table(
    "matches",
    metadata,
    sa.Column("match_id", _ID, primary_key=True),
    sa.Column("market", sa.String(64), nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("forgiven", sa.Boolean, nullable=False, default=False),
    _int("status"),
    sa.Column("is_cancel", sa.Boolean, nullable=False, default=False),
    sa.Column("taker_sells", sa.Boolean, nullable=False),
    sa.Column("taker_order", _ID, nullable=False),
    sa.Column("taker_account", _ID, nullable=False),
    sa.Column("taker_address", sa.String(128), nullable=False),
    sa.Column("maker_order", _ID, nullable=False),
    sa.Column("maker_account", _ID, nullable=False),
    sa.Column("maker_address", sa.String(128), nullable=False),
    _int("quantity"),
    _int("rate"),
    _int("fee_rate_base"),
    _int("fee_rate_quote"),
    _int("epoch"),
    _int("epoch_ms"),
    _int("match_time"),
    sa.Column("taker_swap_address", sa.String(128), nullable=False, default=""),
    sa.Column("maker_swap_address", sa.String(128), nullable=False, default=""),
    _bytes("taker_match_sig"),
    _bytes("maker_match_sig"),
    _int("addresses_time"),
    _bytes("maker_contract"),
    _bytes("maker_swap_coin"),
    _int("maker_swap_time"),
    _bytes("maker_swap_sig"),
    _bytes("taker_audit_sig"),
    _bytes("taker_contract"),
    _bytes("taker_swap_coin"),
    _int("taker_swap_time"),
    _bytes("taker_swap_sig"),
    _bytes("maker_audit_sig"),
    _bytes("secret"),
    _bytes("maker_redeem_coin"),
    _int("maker_redeem_time"),
    _bytes("maker_redeem_sig"),
    _bytes("taker_redemption_sig"),
    _bytes("taker_redeem_coin"),
    _int("taker_redeem_time"),
    _bytes("taker_redeem_sig"),
    _bytes("maker_redemption_sig"),
    sa.Index("matches_by_market", "market", "match_time", "match_id"),
    sa.Index("matches_by_taker", "taker_account", "match_time", "match_id"),
    sa.Index("matches_by_maker", "maker_account", "match_time", "match_id"),
)

# Finished orders and matches stay where they are; what is under way has an index of its own, which stays small however
# long the history grows. The conditions are written out, because no engine takes an index of a part of a table
# for a condition whose values it does not see.

ORDER_ACTIVE: sa.ColumnElement[bool] = orders.c.status.in_(
    [sa.literal_column(str(int(status))) for status in (OrderStatus.EPOCH, OrderStatus.BOOKED)]
)
MATCH_ACTIVE: sa.ColumnElement[bool] = matches.c.active == sa.true()
IS_TRADE: sa.ColumnElement[bool] = matches.c.is_cancel == sa.false()


def _part(name: str, condition: sa.ColumnElement[bool], *columns: sa.Column[Any]) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


_part("orders_active", ORDER_ACTIVE, orders.c.market, orders.c.server_time, orders.c.order_id)
_part("matches_active", MATCH_ACTIVE, matches.c.market, matches.c.match_time, matches.c.match_id)
_part("matches_traded", IS_TRADE, matches.c.market, matches.c.match_time, matches.c.match_id)

epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("market", sa.String(64), primary_key=True),
    sa.Column("epoch", _INT, primary_key=True),
    _int("epoch_ms"),
    _int("match_time"),
    _bytes("csum"),
    _bytes("seed"),
    _bytes("revealed"),
    _bytes("missed"),
    _int("fee_rate_base"),
    _int("fee_rate_quote"),
    _int("match_volume"),
    _int("quote_volume"),
    _int("high_rate"),
    _int("low_rate"),
    _int("start_rate"),
    _int("end_rate"),
)
"""One row per processed epoch: its result and its report. revealed and missed are concatenated order IDs."""

candles = sa.Table(
    "candles",
    metadata,
    sa.Column("market", sa.String(64), primary_key=True),
    sa.Column("bin_ms", _INT, primary_key=True),
    sa.Column("bin", _INT, primary_key=True),
    _int("start_stamp"),
    _int("end_stamp"),
    _int("match_volume"),
    _int("quote_volume"),
    _int("high_rate"),
    _int("low_rate"),
    _int("start_rate"),
    _int("end_rate"),
)

fee_scales = sa.Table(
    "fee_scales",
    metadata,
    sa.Column("symbol", sa.String(16), primary_key=True),
    _int("scale"),
    _int("configured"),
)
"""What the operator set beside the configuration, and what that said then; both in millionths."""

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("market", sa.String(64), primary_key=True),
    sa.Column("number", _INT, primary_key=True),
    sa.Column("opening", sa.Boolean, nullable=False),
    sa.Column("record", _BYTES, nullable=False),
    sa.Column("digest", _ID, nullable=False),
    sa.Column("signature", _BYTES, nullable=False),
    sa.Index("ledger_openings", "market", "opening", "number"),
)
"""The epoch ledger: each record names the digest of the one before it; opening: it tells the terms and the book."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    _int("stamp"),
    sa.Column("address", sa.String(64), nullable=False, default=""),
    sa.Column("operator", sa.String(64), nullable=False, default=""),
    sa.Column("request", sa.String(512), nullable=False),
    sa.Column("body", sa.String(4096), nullable=False, default=""),
    _int("status"),
)
"""What operators changed or tried to: who from where, the path with its query, and the HTTP status of the answer."""
