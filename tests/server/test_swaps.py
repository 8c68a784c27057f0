"""Settlement: every way a match can fail, and who is blamed (protocol section 7.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import BTC, LTC, Exchange
from tests.server.settlement import matched
from tests.server.trader import Trader

from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError

pytestmark = pytest.mark.anyio

E = ErrorCode


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


async def test_a_confirmation_waives_the_fee_rate(exchange: Exchange) -> None:
    made = await matched(exchange)
    _, secret_hash = made.maker.new_secret()
    cheap = await made.maker_contract(secret_hash, rate=1)
    assert await code(made.maker, routes.INIT, cheap) == E.CONTRACT
    exchange.chains[LTC].mine()
    await made.maker.ask(routes.INIT, cheap)


async def test_a_contract_may_spend_what_no_history_shows_yet(exchange: Exchange) -> None:
    """As the next swap of an order does: it spends the change of a swap sent a moment before."""
    made, chain = await matched(exchange), exchange.chains[LTC]
    change = chain.spend(made.funds, made.maker.new_key(), rate=10)
    chain.unindexed.add(change.point)
    _, secret_hash = made.maker.new_secret()
    await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash, funds=change))


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
