"""Every point of a score traces to an event, under the server's signature; old clients hear nothing of it."""

from __future__ import annotations

from itertools import count

import pytest
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.settlement import matched

from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.explain import ExplainRequest, Explanation
from twinlock.protocol.messages.status import MatchStatusRequest
from twinlock.protocol.orders import Side
from twinlock.protocol.reputation import Outcome
from twinlock.protocol.signing import check
from twinlock.protocol.wire import Hex
from twinlock.server.db.accounts import Point, add_points

pytestmark = pytest.mark.anyio


async def test_a_missed_preimage_names_the_order_and_its_epoch(any_exchange: Exchange) -> None:
    exchange = any_exchange
    trader = await exchange.trader()
    trader.lies = True
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    changed = await trader.note(routes.SCORECHANGED)
    told: Explanation = await trader.ask(routes.EXPLAIN, ExplainRequest())
    config = await trader.ask(routes.CONFIG, None)
    [record] = told.outcomes
    assert check(config.public_key, record.signed_bytes(), record.sig)
    assert (record.kind, record.link, record.orders) == ("order", receipt.order_id, [receipt.order_id])
    assert (record.market, record.epoch) == ("ltc_btc", receipt.server_time // 400)
    assert (record.name, record.score, record.counts) == ("preimage miss", -2, True)
    assert told.reputation == changed.reputation
    assert told.adds_up()


async def test_a_failed_match_names_the_account_s_order_and_the_windows_forget(exchange: Exchange) -> None:
    exchange.settings = {"broadcast_timeout_ms": 1_000}
    await exchange.stop()
    await exchange.start()
    made = await matched(exchange)
    await made.maker.note(routes.REVOKE_MATCH)
    account = exchange.running.manager.accounts.get(made.maker.account)
    assert account is not None
    await until(lambda: Outcome.NO_SWAP_AS_MAKER in account.record.matches)
    told: Explanation = await made.maker.ask(routes.EXPLAIN, ExplainRequest())
    [fault] = [record for record in told.outcomes if record.kind == "match"]
    assert (fault.link, fault.score) == (made.match.match_id, -4)
    assert fault.orders == [made.maker.matches[bytes(made.match.match_id)].order_id]
    stamps = count(fault.stamp + 1)
    points = [
        Point(account_id=account.account_id, outcome=Outcome.SWAP_SUCCESS, link=bytes([n]) * 32, stamp=next(stamps))
        for n in range(60)
    ]
    await exchange.running.database.write(*add_points(points))
    exchange.running.manager.reputations.take_effect(points)
    later: Explanation = await made.maker.ask(routes.EXPLAIN, ExplainRequest())
    assert [record.counts for record in later.outcomes if record.link == fault.link] == [False]
    assert (later.reputation.score, later.adds_up()) == (60, True)
    assert next(record.market for record in later.outcomes) == ""


async def test_no_number_of_other_outcomes_washes_an_offence_away(any_exchange: Exchange) -> None:
    """Nor does a restart, which reads the record anew."""
    exchange = any_exchange
    trader = await exchange.trader(tiers=4)
    fault = Point(account_id=trader.account, outcome=Outcome.NO_SWAP_AS_TAKER, link=bytes(32), stamp=1)
    good = Point(account_id=trader.account, outcome=Outcome.PREIMAGE_SUCCESS, link=b"\1" * 32, stamp=2)
    await exchange.running.database.write(*add_points([fault, fault, *([good] * 1_200)]))
    await exchange.crash()
    await exchange.start()
    await exchange.reconnect(trader)
    assert (await trader.connect()).score == -22
    for number in (1, 200):
        told: Explanation = await trader.ask(routes.EXPLAIN, ExplainRequest(count=number))
        assert (told.reputation.score, told.adds_up()) == (-22, True)
        assert [record.score for record in told.outcomes if record.kind == "match"] == [-11, -11]
        assert len(told.outcomes) == max(42, number + 2)


async def test_many_matches_are_looked_up_together(any_exchange: Exchange) -> None:
    exchange = any_exchange
    made = await matched(exchange)
    ids = [made.id, *(number.to_bytes(32, "big") for number in range(1_200)), made.id]
    asked = [MatchStatusRequest(base=LTC, quote=BTC, match_id=Hex(match_id)) for match_id in ids]
    found = await made.taker.ask(routes.MATCH_STATUS, asked)
    assert [(status.match_id, status.active) for status in found] == [(made.id, True)] * 2


async def test_only_its_owner_hears_it(exchange: Exchange) -> None:
    stranger = await exchange.guest()
    with pytest.raises(RpcError) as caught:
        await stranger.ask(routes.EXPLAIN, ExplainRequest())
    assert caught.value.rpc_code == ErrorCode.UNAUTHORIZED
