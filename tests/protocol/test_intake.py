"""Every refusal of an order: its code on the wire, its reason, and that the first one wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from twinlock.chain.keys import PrivateKey
from twinlock.protocol import intake
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.funding import MarketRules, lots, market_buy_minimum, swap_value
from twinlock.protocol.intake import AFTER_COINS, BEFORE_COINS, Submission
from twinlock.protocol.messages.orders import Coin, OrderOptions, OrderPrefix, PlaceCancel, PlaceLimit, PlaceMarket
from twinlock.protocol.wire import Hex

KEY = PrivateKey(bytes(31) + b"\5")
ACCOUNT = Hex(b"\1" * 32)
NOW = 1_700_000_000_000
RULES = MarketRules(lot_size=1000, rate_step=50, minimum_rate=200, buy_buffer=1.25, running=True)
COIN = Coin(coin_id=Hex(bytes(36)), public_keys=[Hex(b"k")], signatures=[Hex(b"s")])
PREFIX: dict[str, Any] = {
    "account_id": ACCOUNT,
    "base": 2,
    "quote": 0,
    "client_time": NOW,
    "commitment": Hex(b"\2" * 32),
}
TRADE: dict[str, Any] = {"side": 1, "quantity": 5000, "coins": [COIN], "address": "a"}
LIMIT = PlaceLimit(**PREFIX, **TRADE, order_type=1, rate=500, time_in_force=1)
MARKET = PlaceMarket(**PREFIX, **TRADE, order_type=2)
CANCEL = PlaceCancel(**PREFIX, order_type=3, target_id=Hex(b"\3" * 32))


def _submit(message: OrderPrefix, *, sign: bool = True, **facts: Any) -> Submission:
    known: dict[str, Any] = {"tier": 1, "now_ms": NOW, "market": RULES, "funds": 10, "required": 10, "mid_gap": 10**8}
    return Submission(message=message, account_id=ACCOUNT, signed=sign, **known | facts)


def _refusal(submission: Submission) -> tuple[int, str]:
    with pytest.raises(RpcError) as caught:
        intake.before_coins(submission)
        intake.after_coins(submission)
    return int(caught.value.rpc_code), caught.value.code


def _changed(message: OrderPrefix, **changes: Any) -> OrderPrefix:
    return msgspec.structs.replace(message, **changes)


@pytest.mark.parametrize("message", [LIMIT, MARKET, CANCEL])
def test_good_orders_pass(message: OrderPrefix) -> None:
    intake.before_coins(_submit(message))
    intake.after_coins(_submit(message))


@pytest.mark.parametrize(
    "message",
    [
        msgspec.structs.replace(LIMIT, options=OrderOptions(post_only=True, expiry=NOW + 1, max_matches=3)),
        msgspec.structs.replace(LIMIT, time_in_force=2, options=OrderOptions(max_matches=3)),
        msgspec.structs.replace(MARKET, options=OrderOptions(max_matches=3)),
    ],
)
def test_options_pass_where_they_make_sense(message: OrderPrefix) -> None:
    intake.before_coins(_submit(message))


def test_a_cap_on_matches_caps_the_swaps_to_be_paid() -> None:
    capped = msgspec.structs.replace(LIMIT, options=OrderOptions(max_matches=2))
    assert (lots(LIMIT, RULES, 0), lots(capped, RULES, 0)) == (5, 2)
    generous = msgspec.structs.replace(LIMIT, options=OrderOptions(max_matches=9))
    assert lots(generous, RULES, 0) == 5


def test_a_cancel_needs_no_tier_and_no_running_market() -> None:
    stopped = replace(RULES, running=False)
    intake.before_coins(_submit(CANCEL, tier=0, market=stopped))


REFUSALS: list[tuple[Callable[[], Submission], int, str]] = [
    (lambda: _submit(_changed(LIMIT, account_id=Hex(bytes(32)))), 33, "account"),
    (lambda: _submit(LIMIT, sign=False), 22, "signature"),
    (lambda: _submit(LIMIT, tier=0), 47, "tier"),
    (lambda: _submit(LIMIT, market=None), 34, "market"),
    (lambda: _submit(_changed(LIMIT, side=3)), 33, "side"),
    (lambda: _submit(_changed(CANCEL, target_id=Hex(b"x"))), 33, "target"),
    (lambda: _submit(CANCEL, cancellable=lambda _: False), 89, "not_cancellable"),
    (lambda: _submit(LIMIT, market=replace(RULES, running=False)), 48, "market_not_running"),
    (lambda: _submit(_changed(LIMIT, order_type=2)), 33, "order_type"),
    (lambda: _submit(_changed(CANCEL, order_type=1)), 33, "order_type"),
    (lambda: _submit(_changed(LIMIT, rate=0)), 33, "rate"),
    (lambda: _submit(_changed(LIMIT, rate=501)), 33, "rate"),
    (lambda: _submit(_changed(LIMIT, time_in_force=0)), 33, "time_in_force"),
    (lambda: _submit(_changed(LIMIT, time_in_force=2, options=OrderOptions(post_only=True))), 33, "options"),
    (lambda: _submit(_changed(MARKET, options=OrderOptions(expiry=NOW + 1))), 33, "options"),
    (lambda: _submit(LIMIT, now_ms=NOW + 600_000), 35, "clock"),
    (lambda: _submit(LIMIT, now_ms=NOW - 600_000), 35, "clock"),
    (lambda: _submit(_changed(LIMIT, server_time=1)), 33, "server_time"),
    (lambda: _submit(LIMIT, receivable=lambda _: False), 33, "address"),
    (lambda: _submit(_changed(LIMIT, quantity=0)), 33, "quantity"),
    (lambda: _submit(_changed(LIMIT, quantity=5001)), 33, "lot_size"),
    (lambda: _submit(_changed(MARKET, side=2, quantity=5001)), 33, "lot_size"),
    (lambda: _submit(_changed(LIMIT, coins=[])), 36, "no_coins"),
    (lambda: _submit(_changed(LIMIT, coins=[_changed_coin(signatures=[])])), 22, "coin_signature_missing"),
    (lambda: _submit(_changed(LIMIT, coins=[_changed_coin(public_keys=[])])), 33, "coin_keys"),
    (lambda: _submit(_changed(LIMIT, commitment=Hex(b"x"))), 33, "commitment"),
    (lambda: _submit(LIMIT, well_formed_coin=lambda _: False), 36, "coin_id"),
    (lambda: _submit(LIMIT, locked=lambda _: True), 36, "coin_locked"),
    (lambda: _submit(_changed(MARKET, quantity=1249)), 36, "market_buy_minimum"),
    (lambda: _submit(LIMIT, funds=9), 36, "funds"),
    (lambda: _submit(_changed(LIMIT, commitment=Hex(bytes(32)))), 34, "zero_commitment"),
    (lambda: _submit(_changed(LIMIT, quantity=2**63 // 1000 * 1000 + 1000)), 34, "size"),
    (lambda: _submit(_changed(LIMIT, rate=150)), 34, "minimum_rate"),
]


def _changed_coin(**changes: Any) -> Coin:
    return msgspec.structs.replace(COIN, **changes)


@pytest.mark.parametrize(("submission", "code", "reason"), REFUSALS)
def test_refusals(submission: Callable[[], Submission], code: int, reason: str) -> None:
    assert _refusal(submission()) == (code, f"order.{reason}")


def test_every_row_is_tested_and_says_what_to_do() -> None:
    rows = (*BEFORE_COINS, *AFTER_COINS)
    assert {row.reason for row in rows} == {reason for _, _, reason in REFUSALS}
    assert all(row.fix and row.message for row in rows)
    for table in (BEFORE_COINS, AFTER_COINS):
        assert [row.step for row in table] == sorted(row.step for row in table)


def test_the_first_refusal_wins() -> None:
    everything_wrong = _submit(_changed(LIMIT, side=9, rate=1, quantity=1, coins=[]), tier=0, now_ms=0)
    assert _refusal(everything_wrong) == (int(ErrorCode.ACCOUNT_CLOSED), "order.tier")


def test_numbers_explain_the_refusal() -> None:
    with pytest.raises(RpcError) as caught:
        intake.before_coins(_submit(_changed(LIMIT, quantity=5001)))
    assert caught.value.numbers == {"quantity": 5001, "lot_size": 1000}
    assert caught.value.fault == "user"


def test_what_an_order_moves() -> None:
    assert swap_value(_limit(side=2)) == 5000
    assert swap_value(_limit(rate=2 * 10**8)) == 10_000
    assert swap_value(MARKET) == 5000
    assert lots(LIMIT, RULES, 0) == 5
    assert lots(MARKET, RULES, 2 * 10**8) == 2
    assert market_buy_minimum(RULES, 2 * 10**8) == 2500


def test_the_buffer_is_taken_as_it_is_written() -> None:
    rules = MarketRules(lot_size=10**8, rate_step=1, minimum_rate=1, buy_buffer=1.15, running=True)
    assert market_buy_minimum(rules, 10**8) == 115_000_000


def _limit(**changes: Any) -> PlaceLimit:
    return msgspec.structs.replace(LIMIT, **changes)
