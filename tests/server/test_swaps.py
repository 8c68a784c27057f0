"""Settlement: every refused report with its code, and every way a match can fail (protocol sections 7.3 to 7.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.trader import Trader

from twinlock.chain.spend import Input
from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.swaps import Init, Match
from twinlock.protocol.orders import Side
from twinlock.protocol.rates import base_to_quote
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex

pytestmark = pytest.mark.anyio

QUANTITY = 2 * LOT
VALUE = base_to_quote(RATE, QUANTITY)
MAKER_LOCK_S, TAKER_LOCK_S = 20 * 3600, 8 * 3600
E = ErrorCode


@dataclass
class Made:
    """A match between two traders; the maker sells."""

    maker: Trader
    taker: Trader
    match: Match
    funds: Input
    money: Input

    @property
    def id(self) -> bytes:
        return bytes(self.match.match_id)

    @property
    def made_s(self) -> int:
        return self.match.server_time // 1000

    async def maker_contract(self, secret_hash: bytes, **changes: Any) -> Init:
        terms: dict[str, Any] = {
            "value": QUANTITY,
            "lock_time": self.made_s + MAKER_LOCK_S,
            "funds": self.funds,
        } | changes
        return await self.maker.make_contract(self.id, LTC, secret_hash=secret_hash, **terms)

    async def taker_contract(self, secret_hash: bytes, **changes: Any) -> Init:
        terms: dict[str, Any] = {"value": VALUE, "lock_time": self.made_s + TAKER_LOCK_S, "funds": self.money}
        return await self.taker.make_contract(self.id, BTC, secret_hash=secret_hash, **(terms | changes))


async def matched(exchange: Exchange, *, addresses: bool = True, self_trade: bool = False) -> Made:
    """Two traders, a booked sell, and a buy that takes it."""
    maker = await exchange.trader(tiers=4)
    taker = maker if self_trade else await exchange.trader()
    if not addresses:
        taker.acknowledge = lambda _: []
    funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    receipt = await maker.place(maker.limit_order(MARKET, Side.SELL, QUANTITY, RATE, funds))
    await maker.booked(receipt.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, QUANTITY, RATE, money))
    matches = await taker.note(routes.MATCH)
    made = Made(maker, taker, matches[-1], funds, money)
    if addresses:
        await maker.counterparty(made.id)
        await taker.counterparty(made.id)
    return made


async def code(trader: Trader, route: Any, report: Any) -> int:
    with pytest.raises(RpcError) as caught:
        await trader.ask(route, report)
    return caught.value.rpc_code


@pytest.fixture
async def hasty(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Exchange]:
    """An exchange that waits two seconds at most."""
    exchange = Exchange(tmp_path)
    exchange.settings = {"broadcast_timeout_ms": 2_000}
    await exchange.start()
    yield exchange
    await exchange.close()


async def test_contracts_that_are_not_as_agreed(exchange: Exchange) -> None:
    made = await matched(exchange)
    chain = exchange.chains[LTC]
    _, secret_hash = made.maker.new_secret()
    bad: dict[str, dict[str, Any]] = {
        "value too low": {"value": QUANTITY - 1},
        "value too high": {"value": QUANTITY + 1},
        "unlocks too soon": {"lock_time": made.made_s + MAKER_LOCK_S - 1},
    }
    for name, change in bad.items():
        funds = chain.fund(made.maker.new_key(), 10 * LOT)
        report = await made.maker_contract(secret_hash, funds=funds, **change)
        assert await code(made.maker, routes.INIT, report) == E.CONTRACT, name
    stolen = await made.maker_contract(secret_hash, funds=chain.fund(made.maker.new_key(), 10 * LOT), recipient="self")
    assert await code(made.maker, routes.INIT, stolen) == E.CONTRACT
    cheap = await made.maker_contract(secret_hash, funds=chain.fund(made.maker.new_key(), 10 * LOT), rate=1)
    assert await code(made.maker, routes.INIT, cheap) == E.CONTRACT
    chain.mine()
    await made.maker.ask(routes.INIT, cheap)  # a confirmation waives the fee rate


async def test_a_contract_may_spend_what_no_history_shows_yet(exchange: Exchange) -> None:
    """As the next swap of an order does: it spends the change of a swap sent a moment before."""
    made, chain = await matched(exchange), exchange.chains[LTC]
    change = chain.spend(made.funds, made.maker.new_key(), rate=10)
    chain.unindexed.add(change.point)
    _, secret_hash = made.maker.new_secret()
    await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash, funds=change))


async def test_reports_out_of_form_or_turn(exchange: Exchange) -> None:
    made = await matched(exchange)
    _, secret_hash = made.maker.new_secret()
    report = await made.maker_contract(secret_hash)
    stranger = await exchange.trader()
    early = replace(report, order_id=made.match.order_id)
    forged = replace(report, coin_id=Hex(bytes(36)))
    short_coin = signed(made.maker.key, replace(report, coin_id=Hex(bytes(35))))
    short_contract = signed(made.maker.key, replace(report, contract=Hex(report.contract[:-1])))
    unknown = signed(made.maker.key, replace(report, match_id=Hex(bytes(32))))
    assert await code(made.maker, routes.INIT, forged) == E.SIGNATURE
    assert await code(made.maker, routes.INIT, short_coin) == E.CONTRACT
    assert await code(made.maker, routes.INIT, short_contract) == E.CONTRACT
    assert await code(made.maker, routes.INIT, unknown) == E.UNKNOWN_MATCH
    assert await code(stranger, routes.INIT, signed(stranger.key, report)) == E.UNKNOWN_MATCH
    assert await code(made.taker, routes.INIT, signed(made.taker.key, early)) == E.SETTLEMENT_SEQUENCE
    await made.maker.ask(routes.INIT, report)
    assert await code(made.maker, routes.INIT, report) == E.SETTLEMENT_SEQUENCE


async def test_the_taker_must_use_the_makers_hash(exchange: Exchange) -> None:
    made = await matched(exchange)
    _, secret_hash = made.maker.new_secret()
    _, another = made.taker.new_secret()
    await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash))
    assert await code(made.taker, routes.INIT, await made.taker_contract(another)) == E.CONTRACT


async def test_a_secret_hash_serves_one_match(exchange: Exchange) -> None:
    first, second = await matched(exchange), await matched(exchange)
    _, secret_hash = first.maker.new_secret()
    await first.maker.ask(routes.INIT, await first.maker_contract(secret_hash))
    assert await code(second.maker, routes.INIT, await second.maker_contract(secret_hash)) == E.CONTRACT


async def test_redemptions_that_are_not(exchange: Exchange) -> None:
    made = await matched(exchange)
    secret, secret_hash = made.maker.new_secret()
    await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash))
    await made.taker.note(routes.AUDIT)
    exchange.chains[LTC].mine()
    await made.taker.ask(routes.INIT, await made.taker_contract(secret_hash))
    audit = await made.maker.note(routes.AUDIT)
    honest = made.maker.make_redemption(made.id, BTC, audit, secret)
    key = made.maker.key
    wrong_secret = signed(key, replace(honest, secret=Hex(bytes(32))))
    short_secret = signed(key, replace(honest, secret=Hex(secret[:31])))
    unrelated = exchange.chains[BTC].spend(exchange.chains[BTC].fund(key, LOT), made.maker.new_key())
    elsewhere = signed(key, replace(honest, coin_id=Hex(unrelated.point.tx_hash + bytes(4))))
    no_input = signed(key, replace(honest, coin_id=Hex(honest.coin_id[:32] + b"\0\0\0\7")))
    assert await code(made.maker, routes.REDEEM, wrong_secret) == E.INVALID_REQUEST
    assert await code(made.maker, routes.REDEEM, short_secret) == E.INVALID_REQUEST
    assert await code(made.maker, routes.REDEEM, elsewhere) == E.REDEMPTION
    assert await code(made.maker, routes.REDEEM, no_input) == E.REDEMPTION
    assert await code(made.maker, routes.REDEEM, replace(honest, sig=wrong_secret.sig)) == E.SIGNATURE
    await made.maker.ask(routes.REDEEM, honest)
    assert await code(made.maker, routes.REDEEM, honest) == E.SETTLEMENT_SEQUENCE


async def test_a_transaction_that_never_appears(hasty: Exchange) -> None:
    made = await matched(hasty)
    _, secret_hash = made.maker.new_secret()
    report = await made.maker_contract(secret_hash)
    lost = signed(made.maker.key, replace(report, coin_id=Hex(bytes(36))))
    assert await code(made.maker, routes.INIT, lost) == E.TRANSACTION_UNDISCOVERED


async def test_a_maker_that_never_swaps_is_at_fault(hasty: Exchange) -> None:
    made = await matched(hasty)
    for trader in (made.maker, made.taker):
        revoked = await trader.note(routes.REVOKE_MATCH)
        assert revoked.match_id == made.id
    assert [(await trader.connect()).score for trader in (made.maker, made.taker)] == [-4, 0]


async def test_a_taker_without_an_address_is_at_fault(hasty: Exchange) -> None:
    made = await matched(hasty, addresses=False)
    await made.maker.note(routes.REVOKE_MATCH)
    assert made.taker.stray[0].rpc_code == E.ACK_COUNT
    assert [(await trader.connect()).score for trader in (made.maker, made.taker)] == [0, -4]


async def test_a_taker_that_never_swaps_is_at_fault_once_the_makers_contract_is_deep(hasty: Exchange) -> None:
    made = await matched(hasty)
    _, secret_hash = made.maker.new_secret()
    await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash))
    hasty.chains[LTC].mine()
    await made.maker.note(routes.REVOKE_MATCH)
    assert [(await trader.connect()).score for trader in (made.maker, made.taker)] == [0, -11]


async def test_a_maker_that_never_redeems_is_at_fault(hasty: Exchange) -> None:
    made = await matched(hasty)
    _, secret_hash = made.maker.new_secret()
    await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash))
    await made.taker.note(routes.AUDIT)
    hasty.chains[LTC].mine()
    await made.taker.ask(routes.INIT, await made.taker_contract(secret_hash))
    hasty.chains[BTC].mine()
    await made.taker.note(routes.REVOKE_MATCH)
    assert [(await trader.connect()).score for trader in (made.maker, made.taker)] == [-7, 0]


async def test_a_trade_with_oneself_blames_nobody(hasty: Exchange) -> None:
    made = await matched(hasty, self_trade=True)
    await made.maker.note(routes.REVOKE_MATCH)
    assert (await made.maker.connect()).score == 0


async def test_a_bad_acknowledgement_is_named(exchange: Exchange) -> None:
    maker, taker = await exchange.trader(), await exchange.trader()
    taker.acknowledge = lambda found: [replace(ack, sig=Hex(b"\x30")) for ack in taker.acknowledge_all(found)]
    maker.acknowledge = lambda found: [replace(ack, address="nowhere") for ack in maker.acknowledge_all(found)]
    funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    receipt = await maker.place(maker.limit_order(MARKET, Side.SELL, QUANTITY, RATE, funds))
    await maker.booked(receipt.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, QUANTITY, RATE, money))
    assert (await taker.complaint()).rpc_code == E.SIGNATURE
    assert (await maker.complaint()).rpc_code == E.ORDER_PARAMETER
