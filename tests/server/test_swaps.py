"""Settlement: every way a match can fail, and who is blamed (protocol section 7.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, LTC, Exchange, until
from tests.server.jump_clock import JumpClock
from tests.server.settlement import TAKER_LOCK_S, VALUE, Made, matched
from tests.server.trader import Trader

from twinlock.chain.families import family_of
from twinlock.chain.spend import key_input
from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import MAX_COINS
from twinlock.protocol.messages.status import MatchStatusRequest
from twinlock.protocol.messages.swaps import Audit, Redeem
from twinlock.protocol.signing import signed
from twinlock.protocol.swap import MatchStatus, Party
from twinlock.protocol.swap.referee import deadline
from twinlock.protocol.wire import Hex
from twinlock.server.db import DatabaseError, Write

pytestmark = pytest.mark.anyio

E = ErrorCode
LEAP_S = 12
"""Past the exchange's patience; short enough for the links to stay."""


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


@pytest.fixture
def clock() -> JumpClock:
    return JumpClock()


@pytest.fixture
async def leaping(tmp_path: Path, clock: JumpClock, anyio_backend: str) -> AsyncIterator[Exchange]:
    """An exchange whose clock is put forward."""
    exchange = Exchange(tmp_path)
    exchange.clock = clock
    exchange.settings = {"broadcast_timeout_ms": LEAP_S * 1_000 - 1_000}
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


async def test_a_contract_may_spend_all_coins_of_its_order_before_it_confirms(exchange: Exchange) -> None:
    made, chain = await matched(exchange), exchange.chains[LTC]
    _, secret_hash = made.maker.new_secret()

    def coins(count: int) -> dict[str, Any]:
        first, *more = (chain.fund(made.maker.new_key(), LOT // 20) for _ in range(count))
        return {"funds": first, "more": more}

    with pytest.raises(RpcError, match=r"asset\.fee_unknown.*inputs 256, most 255") as refused:
        await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash, **coins(MAX_COINS + 1)))
    assert refused.value.rpc_code == E.CONTRACT
    await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash, **coins(MAX_COINS)))


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


async def both_cast(made: Made, exchange: Exchange) -> tuple[bytes, Audit, Audit]:
    """The secret, and what each side was told of the other's contract; both contracts are deep enough."""
    secret, secret_hash = made.maker.new_secret()
    await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash))
    of_maker = await made.taker.note(routes.AUDIT)
    exchange.chains[LTC].mine()
    await made.taker.ask(routes.INIT, await made.taker_contract(secret_hash))
    of_taker = await made.maker.note(routes.AUDIT)
    exchange.chains[BTC].mine()
    settling = exchange.running.manager.executor.find(made.id)
    assert settling is not None
    await until(lambda: settling.swap.legs[Party.TAKER].confirmed_ms is not None)
    return secret, of_taker, of_maker


async def test_nobody_is_blamed_for_a_redemption_that_only_the_chain_shows(leaping: Exchange, clock: JumpClock) -> None:
    made = await matched(leaping)
    secret, of_taker, of_maker = await both_cast(made, leaping)
    unreported = made.maker.make_redemption(made.id, BTC, of_taker, secret)
    clock.jump(LEAP_S)
    told = await made.taker.note(routes.REDEMPTION)
    assert (told.match_id, told.secret, told.coin_id) == (made.id, secret, unreported.coin_id)
    assert await code(made.maker, routes.REDEEM, unreported) == E.SETTLEMENT_SEQUENCE
    question = MatchStatusRequest(base=LTC, quote=BTC, match_id=Hex(made.id))
    [status] = await made.maker.ask(routes.MATCH_STATUS, [question])
    assert (status.status, status.maker_redeem) == (MatchStatus.MAKER_REDEEMED, unreported.coin_id)
    made.taker.make_redemption(made.id, LTC, of_maker, bytes(told.secret))
    clock.jump(LEAP_S)
    await made.maker.note(routes.REDEMPTION)
    results = [await trader.connect() for trader in (made.maker, made.taker)]
    assert [(result.score, result.active_matches) for result in results] == [(1, []), (1, [])]
    assert not made.maker.notes[routes.REVOKE_MATCH.name]


async def test_a_match_whose_end_cannot_be_stored_goes_on(exchange: Exchange) -> None:
    made, executor = await matched(exchange), exchange.running.manager.executor
    settling = executor.find(made.id)
    assert settling is not None
    database = exchange.running.database
    refusing = "CREATE TRIGGER refusing BEFORE UPDATE ON matches BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    await database.write(Write(sa.text(refusing)))
    with pytest.raises(DatabaseError, match="the disk is full"):
        await executor.expired(settling)
    await database.write(Write(sa.text("DROP TRIGGER refusing")))
    assert executor.find(made.id) is settling
    await executor.expired(settling)
    assert executor.find(made.id) is None


async def test_a_server_that_cannot_see_the_chain_blames_nobody(leaping: Exchange, clock: JumpClock) -> None:
    made = await matched(leaping)
    secret, of_taker, _ = await both_cast(made, leaping)
    made.maker.make_redemption(made.id, BTC, of_taker, secret)
    leaping.chains[BTC].mute = True
    asked = leaping.chains[BTC].questions
    clock.jump(LEAP_S)
    await until(lambda: leaping.chains[BTC].questions > asked)
    leaping.chains[BTC].mute = False
    assert (await made.taker.note(routes.REDEMPTION)).secret == secret


async def test_what_a_blind_server_was_told_of_is_given_up_when_contracts_expire(
    leaping: Exchange, clock: JumpClock
) -> None:
    made = await matched(leaping)
    await both_cast(made, leaping)
    leaping.chains[BTC].mute = True
    clock.jump(TAKER_LOCK_S)
    await until(lambda: leaping.running.manager.executor.find(made.id) is None)
    for trader in (made.maker, made.taker):
        await leaping.reconnect(trader)
        assert (await trader.connect()).score == 0


async def nearly_over(exchange: Exchange, clock: JumpClock, made: Made) -> None:
    """Put the clock to where the time for the next step has just run out, and nobody has looked yet."""
    settling = exchange.running.manager.executor.find(made.id)
    assert settling is not None
    due = deadline(settling.swap)
    assert due is not None
    clock.jump((due - clock.now_ms() - 200) / 1000)
    await until(lambda: clock.now_ms() > due)


async def test_reports_of_nothing_do_not_keep_a_match_for_ever(leaping: Exchange, clock: JumpClock) -> None:
    """The next one would be there before the last one's search is over."""
    made = await matched(leaping)
    _, secret_hash = made.maker.new_secret()
    report = await made.maker_contract(secret_hash)
    nowhere = signed(made.maker.key, replace(report, coin_id=Hex(bytes(36))))
    await nearly_over(leaping, clock, made)
    assert await code(made.maker, routes.INIT, nowhere) == E.UNKNOWN_MATCH
    await made.taker.note(routes.REVOKE_MATCH)
    assert [(await trader.connect()).score for trader in (made.maker, made.taker)] == [-4, 0]


async def test_redemptions_of_nothing_do_not_either(leaping: Exchange, clock: JumpClock) -> None:
    made = await matched(leaping)
    secret, _, _ = await both_cast(made, leaping)
    order_id = made.maker.matches[made.id].order_id
    nothing = Redeem(order_id=order_id, match_id=Hex(made.id), coin_id=Hex(bytes(36)), secret=Hex(secret))
    await nearly_over(leaping, clock, made)
    refused = await code(made.maker, routes.REDEEM, signed(made.maker.key, nothing))
    assert refused in (E.DUPLICATE_REQUEST, E.UNKNOWN_MATCH)  # the latter if it has just been looked for
    await made.taker.note(routes.REVOKE_MATCH)
    assert [(await trader.connect()).score for trader in (made.maker, made.taker)] == [-7, 0]


async def test_who_must_swap_on_a_chain_out_of_view_has_the_time_again(leaping: Exchange, clock: JumpClock) -> None:
    made = await matched(leaping)
    _, secret_hash = made.maker.new_secret()
    await made.maker.ask(routes.INIT, await made.maker_contract(secret_hash))
    await made.taker.note(routes.AUDIT)
    leaping.chains[LTC].mine()
    settling = leaping.running.manager.executor.find(made.id)
    assert settling is not None
    await until(lambda: settling.swap.legs[Party.MAKER].confirmed_ms is not None)
    leaping.chains[BTC].connected = False
    clock.jump(LEAP_S)
    await made.taker.ask(routes.CONFIG, None)  # meanwhile the server has looked
    leaping.chains[BTC].connected = True
    await made.taker.ask(routes.INIT, await made.taker_contract(secret_hash))
    await made.maker.note(routes.AUDIT)


async def test_who_does_not_use_that_time_is_at_fault(leaping: Exchange, clock: JumpClock) -> None:
    made = await matched(leaping)
    leaping.chains[LTC].connected = False
    clock.jump(LEAP_S)
    await made.taker.ask(routes.CONFIG, None)
    assert leaping.running.manager.executor.find(made.id) is not None
    leaping.chains[LTC].connected = True
    clock.jump(LEAP_S)
    await made.taker.note(routes.REVOKE_MATCH)
    assert [(await trader.connect()).score for trader in (made.maker, made.taker)] == [-4, 0]


async def test_a_contract_that_was_spent_without_the_secret_is_not_redeemed(
    leaping: Exchange, clock: JumpClock
) -> None:
    made = await matched(leaping)
    _, of_taker, _ = await both_cast(made, leaping)
    chain, key = leaping.chains[BTC], made.taker.new_key()
    point = family_of(chain.coin).parse_coin_id(of_taker.coin_id)
    chain.spend(key_input(point, VALUE, chain.script(key), key), key)
    clock.jump(LEAP_S)
    await made.taker.note(routes.REVOKE_MATCH)
    assert [(await trader.connect()).score for trader in (made.maker, made.taker)] == [-7, 0]


async def test_a_trade_with_oneself_blames_nobody(hasty: Exchange) -> None:
    made = await matched(hasty, self_trade=True)
    await made.maker.note(routes.REVOKE_MATCH)
    assert (await made.maker.connect()).score == 0
