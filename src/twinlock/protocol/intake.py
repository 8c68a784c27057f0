"""The checks that an order passes before a market takes it, in the server's order (protocol section 5.7).

Rows hold what can be decided from values; looking for coins and balances (steps 14, 15, 17, 19) is the server's.
`before_coins` ends where that search begins, `after_coins` takes up where it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from twinlock.errors import Fault
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import CLOCK_TOLERANCE_MS, HASH_BYTES, MAX_ORDER_VALUE
from twinlock.protocol.funding import MarketRules, market_buy_minimum
from twinlock.protocol.messages.orders import OrderPrefix, PlaceCancel, PlaceLimit, PlaceMarket, Trade
from twinlock.protocol.orders import OrderType, Side, TimeInForce


@dataclass(frozen=True, kw_only=True)
class Submission:
    """An order as it arrived, and what the server knows at that moment.

    account_id, tier: of the authenticated account. signed: whether its key signed the message.
    market: None if unknown. mid_gap: of the market's book.
    receivable: whether an address is the canonical spelling of a receiving address of the asset that is received.
    well_formed_coin, locked: about coin IDs of the funding asset. cancellable: about a cancel's target.
    funds, required: atoms of the coins together, and what `Family.required_funds` asks; known after the search.
    """

    message: OrderPrefix
    account_id: bytes
    signed: bool
    tier: int
    now_ms: int
    market: MarketRules | None
    mid_gap: int = 0
    receivable: Callable[[str], bool] = lambda _: True
    well_formed_coin: Callable[[bytes], bool] = lambda _: True
    locked: Callable[[bytes], bool] = lambda _: False
    cancellable: Callable[[bytes], bool] = lambda _: True
    funds: int = 0
    required: int = 0

    @property
    def rules(self) -> MarketRules:
        """The market's rules; only rows after the one that asks for a known market use it."""
        assert self.market is not None
        return self.market


Numbers: TypeAlias = Mapping[str, int | str]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row: a step of the reference's table, the code on the wire, the stable reason, and what it says.

    refuses: whether the submission fails. applies: the messages that it is about.
    """

    step: int
    rpc_code: ErrorCode
    reason: str
    refuses: Callable[[Submission], bool]
    message: str
    fix: str
    applies: tuple[type[OrderPrefix], ...] = (PlaceLimit, PlaceMarket)
    numbers: Callable[[Submission], Numbers] = field(default=lambda _: {})
    fault: Fault = "user"


_ALL: Final = (PlaceLimit, PlaceMarket, PlaceCancel)
_CANCEL: Final = (PlaceCancel,)
_LIMIT: Final = (PlaceLimit,)
_MARKET: Final = (PlaceMarket,)
_TYPES: Final = {PlaceLimit: OrderType.LIMIT, PlaceMarket: OrderType.MARKET, PlaceCancel: OrderType.CANCEL}


def _trade(submission: Submission) -> Trade:
    assert isinstance(submission.message, Trade)
    return submission.message


def _limit(submission: Submission) -> PlaceLimit:
    assert isinstance(submission.message, PlaceLimit)
    return submission.message


def _target(submission: Submission) -> bytes:
    assert isinstance(submission.message, PlaceCancel)
    return submission.message.target_id


def _buys_at_market(submission: Submission) -> bool:
    return isinstance(submission.message, PlaceMarket) and submission.message.side == Side.BUY


def _may_rest(message: Trade) -> bool:
    return isinstance(message, PlaceLimit) and message.time_in_force == TimeInForce.STANDING


def _off_the_clock(submission: Submission) -> bool:
    return abs(submission.message.client_time - submission.now_ms) >= CLOCK_TOLERANCE_MS


def _oversized(submission: Submission) -> bool:
    message = submission.message
    rate = message.rate if isinstance(message, PlaceLimit) else 0
    return max(_trade(submission).quantity, rate) > MAX_ORDER_VALUE


BEFORE_COINS: Final = (
    Check(
        step=2,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="account",
        applies=_ALL,
        refuses=lambda s: s.message.account_id != s.account_id,
        message="the order names another account",
        fix="Send the order on a connection of its own account.",
    ),
    Check(
        step=3,
        rpc_code=ErrorCode.SIGNATURE,
        reason="signature",
        applies=_ALL,
        refuses=lambda s: not s.signed,
        message="the order's signature is missing or not valid",
        fix="Sign the order's bytes, with tserver 0, with the account's key.",
    ),
    Check(
        step=4,
        rpc_code=ErrorCode.ACCOUNT_CLOSED,
        reason="tier",
        refuses=lambda s: s.tier < 1,
        numbers=lambda s: {"tier": s.tier},
        message="the account's tier is below 1",
        fix="Post a bond, or wait until the penalties are worked off.",
    ),
    Check(
        step=5,
        rpc_code=ErrorCode.UNKNOWN_MARKET_ERROR,
        reason="market",
        applies=_ALL,
        refuses=lambda s: s.market is None,
        numbers=lambda s: {"base": s.message.base, "quote": s.message.quote},
        message="no such market",
        fix="Take the market from the server's config.",
    ),
    Check(
        step=6,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="side",
        refuses=lambda s: _trade(s).side not in tuple(Side),
        numbers=lambda s: {"side": _trade(s).side},
        message="the side is neither buy nor sell",
        fix="Send 1 to buy or 2 to sell.",
    ),
    Check(
        step=6,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="target",
        applies=_CANCEL,
        refuses=lambda s: len(_target(s)) != HASH_BYTES,
        numbers=lambda s: {"bytes": len(_target(s))},
        message="the target is not an order ID",
        fix="Name the order by its 32-byte ID.",
    ),
    Check(
        step=6,
        rpc_code=ErrorCode.UNKNOWN_ORDER,
        reason="not_cancellable",
        applies=_CANCEL,
        refuses=lambda s: not s.cancellable(_target(s)),
        message="the target is no standing order on this market",
        fix="Refresh the order's status; it may have matched.",
    ),
    Check(
        step=7,
        rpc_code=ErrorCode.MARKET_NOT_RUNNING,
        reason="market_not_running",
        refuses=lambda s: not s.rules.running,
        message="the market is not running",
        fix="Wait for the market to resume.",
        fault="server",
    ),
    Check(
        step=8,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="order_type",
        applies=_ALL,
        refuses=lambda s: s.message.order_type != _TYPES[type(s.message)],
        numbers=lambda s: {"order_type": s.message.order_type},
        message="the order type is not the route's",
        fix="Send the order on its own route.",
    ),
    Check(
        step=8,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="rate",
        applies=_LIMIT,
        refuses=lambda s: _limit(s).rate == 0 or _limit(s).rate % s.rules.rate_step != 0,
        numbers=lambda s: {"rate": _limit(s).rate, "rate_step": s.rules.rate_step},
        message="the rate is not a multiple of the rate step",
        fix="Round the rate to the market's rate step.",
    ),
    Check(
        step=8,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="time_in_force",
        applies=_LIMIT,
        refuses=lambda s: _limit(s).time_in_force not in tuple(TimeInForce),
        numbers=lambda s: {"time_in_force": _limit(s).time_in_force},
        message="unknown time in force",
        fix="Send 1 for standing or 2 for immediate.",
    ),
    Check(
        step=8,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="options",
        refuses=lambda s: not _may_rest(_trade(s)) and (_trade(s).asked.post_only or _trade(s).asked.expiry > 0),
        message="only a standing limit order can be post-only or expire",
        fix="Leave the options out, or place a standing limit order.",
    ),
    Check(
        step=9,
        rpc_code=ErrorCode.CLOCK_RANGE,
        reason="clock",
        applies=_ALL,
        refuses=_off_the_clock,
        numbers=lambda s: {"client_time": s.message.client_time, "server_time": s.now_ms},
        message="the order's time is too far from the server's",
        fix="Set this computer's clock.",
    ),
    Check(
        step=10,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="server_time",
        applies=_ALL,
        refuses=lambda s: s.message.server_time != 0,
        numbers=lambda s: {"server_time": s.message.server_time},
        message="only the server stamps tserver",
        fix="Send tserver 0.",
    ),
    Check(
        step=10,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="address",
        refuses=lambda s: not s.receivable(_trade(s).address),
        numbers=lambda s: {"address": _trade(s).address},
        message="the receiving address is not acceptable",
        fix="Send a P2WPKH (segwit coins) or P2PKH address of the received coin in its canonical spelling.",
    ),
    Check(
        step=10,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="quantity",
        refuses=lambda s: _trade(s).quantity == 0,
        message="the quantity is zero",
        fix="Order at least one lot.",
    ),
    Check(
        step=10,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="lot_size",
        refuses=lambda s: not _buys_at_market(s) and _trade(s).quantity % s.rules.lot_size != 0,
        numbers=lambda s: {"quantity": _trade(s).quantity, "lot_size": s.rules.lot_size},
        message="the quantity is not a multiple of the lot size",
        fix="Round the quantity to whole lots.",
    ),
    Check(
        step=11,
        rpc_code=ErrorCode.FUNDING,
        reason="no_coins",
        refuses=lambda s: not _trade(s).coins,
        message="no coins fund the order",
        fix="Name at least one coin.",
    ),
    Check(
        step=12,
        rpc_code=ErrorCode.SIGNATURE,
        reason="coin_signature_missing",
        refuses=lambda s: any(not coin.signatures for coin in _trade(s).coins),
        message="a coin has no signature",
        fix="Sign every coin's ID with the keys that own it.",
    ),
    Check(
        step=12,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="coin_keys",
        refuses=lambda s: any(len(coin.signatures) != len(coin.public_keys) for coin in _trade(s).coins),
        message="a coin has not as many public keys as signatures",
        fix="Send one public key for every signature.",
    ),
    Check(
        step=13,
        rpc_code=ErrorCode.ORDER_PARAMETER,
        reason="commitment",
        applies=_ALL,
        refuses=lambda s: len(s.message.commitment) != HASH_BYTES,
        numbers=lambda s: {"bytes": len(s.message.commitment)},
        message="the commitment is not 32 bytes",
        fix="Send the BLAKE-256 hash of a 32-byte preimage.",
    ),
    Check(
        step=16,
        rpc_code=ErrorCode.FUNDING,
        reason="coin_id",
        refuses=lambda s: not all(s.well_formed_coin(coin.coin_id) for coin in _trade(s).coins),
        message="a coin ID cannot be read",
        fix="Send 36 bytes: the transaction hash in internal order, then the output's index.",
    ),
    Check(
        step=16,
        rpc_code=ErrorCode.FUNDING,
        reason="coin_locked",
        refuses=lambda s: any(s.locked(coin.coin_id) for coin in _trade(s).coins),
        message="a coin funds another order",
        fix="Choose other coins, or cancel the other order.",
    ),
)

AFTER_COINS: Final = (
    Check(
        step=20,
        rpc_code=ErrorCode.FUNDING,
        reason="market_buy_minimum",
        applies=_MARKET,
        refuses=lambda s: _buys_at_market(s) and _trade(s).quantity < market_buy_minimum(s.rules, s.mid_gap),
        numbers=lambda s: {"quantity": _trade(s).quantity, "required": market_buy_minimum(s.rules, s.mid_gap)},
        message="the market buy is too small to be sure of one lot",
        fix="Spend more, or place a limit order.",
    ),
    Check(
        step=21,
        rpc_code=ErrorCode.FUNDING,
        reason="funds",
        refuses=lambda s: s.funds < s.required,
        numbers=lambda s: {"funds": s.funds, "required": s.required},
        message="the coins do not cover the order and its worst-case fees",
        fix="Add coins, or order less.",
    ),
    Check(
        step=22,
        rpc_code=ErrorCode.UNKNOWN_MARKET_ERROR,
        reason="zero_commitment",
        applies=_ALL,
        refuses=lambda s: not any(s.message.commitment),
        message="the commitment is zero",
        fix="Send the BLAKE-256 hash of a 32-byte preimage.",
    ),
    Check(
        step=22,
        rpc_code=ErrorCode.UNKNOWN_MARKET_ERROR,
        reason="size",
        refuses=_oversized,
        numbers=lambda _: {"maximum": MAX_ORDER_VALUE},
        message="quantity or rate is beyond 2^63 - 1",
        fix="Order less.",
    ),
    Check(
        step=22,
        rpc_code=ErrorCode.UNKNOWN_MARKET_ERROR,
        reason="minimum_rate",
        applies=_LIMIT,
        refuses=lambda s: _limit(s).rate < s.rules.minimum_rate,
        numbers=lambda s: {"rate": _limit(s).rate, "required": s.rules.minimum_rate},
        message="at this rate one lot is worth less than the smallest swap of the quote coin",
        fix="Raise the rate.",
    ),
)


def before_coins(submission: Submission) -> None:
    """Everything up to the search for the coins. Raises `RpcError` with the first row that refuses."""
    _run(BEFORE_COINS, submission)


def after_coins(submission: Submission) -> None:
    """What remains once the coins are found; of a cancel, all that remains. Raises `RpcError`."""
    _run(AFTER_COINS, submission)


def _run(checks: Iterable[Check], submission: Submission) -> None:
    kind = type(submission.message)
    for row in checks:
        if kind in row.applies and row.refuses(submission):
            raise RpcError(
                row.rpc_code,
                row.message,
                code=f"order.{row.reason}",
                fault=row.fault,
                numbers=row.numbers(submission),
                fix=row.fix,
            )
