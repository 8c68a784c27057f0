"""The states in which a server refuses things: how each is brought about, and the rows that belong to it."""

from __future__ import annotations

import sqlite3

from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange, until
from tests.server.jump_clock import JumpClock
from tests.server.refusals import accounts, envelopes, orders, swaps
from tests.server.refusals.table import Act, Scene, World
from tests.server.settlement import matched

from twinlock.protocol import routes
from twinlock.protocol.account import account_id
from twinlock.protocol.constants import PREPAID_ASSET_ID
from twinlock.protocol.orders import Side, TimeInForce
from twinlock.seams import SeededEntropy
from twinlock.server.db.accounts import PrepaidCode, add_codes

NAME = "ltc_btc"
DAY_S = 86_400


async def hall(exchange: Exchange, clock: JumpClock) -> World:
    """Somebody without an account, and somebody with one: where every scene begins."""
    guest, trader = await exchange.guest(), await exchange.trader(tiers=2)
    return World(exchange, clock, guest, trader, exchange.chains[LTC].fund(trader.new_key(), 3 * LOT))


async def _nothing(_: World) -> None:
    """As it is."""


async def _bank(world: World) -> None:
    """Codes that are used up or nearly over, and a bond that is the trader's."""
    account = world.exchange.running.manager.accounts.get(world.trader.account)
    assert account is not None
    [(_, world.kept["bond"])] = account.bonds
    now, entropy = world.clock.now_ms() // 1000, SeededEntropy(1)
    world.kept |= {"used": entropy.token(16), "old": entropy.token(16)}
    await world.exchange.running.database.write(
        add_codes([PrepaidCode(world.kept["used"], 1, now + 60 * DAY_S), PrepaidCode(world.kept["old"], 1, now)])
    )
    buyer = await world.exchange.guest()
    await buyer.post_bond(PREPAID_ASSET_ID, world.kept["used"])
    assert world.exchange.running.manager.accounts.get(account_id(buyer.key.public)) is not None


async def _market(world: World) -> None:
    """Orders at rest, of the trader and of a stranger, and orders that are over."""
    trader, stranger, chain = world.trader, await world.exchange.trader(), world.exchange.chains[LTC]
    world.kept["silent"] = silent = await world.exchange.trader()
    silent.reveals = False
    funds = chain.fund(trader.new_key(), 3 * LOT)
    sent = trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds)
    booked = (await trader.place(sent)).order_id
    money = world.exchange.chains[BTC].fund(trader.new_key(), LOT)
    immediate = trader.limit_order(MARKET, Side.BUY, LOT, RATE // 2, money, time_in_force=int(TimeInForce.IMMEDIATE))
    ended = (await trader.place(immediate)).order_id
    await trader.note(routes.NOMATCH, lambda note: note.order_id == ended)
    theirs = stranger.limit_order(MARKET, Side.SELL, LOT, RATE, chain.fund(stranger.new_key(), 3 * LOT))
    strange = (await stranger.place(theirs)).order_id
    await trader.booked(strange, MARKET)
    again = trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds)
    world.kept |= {
        "booked": booked,
        "immediate": ended,
        "ended": ended,
        "strange": strange,
        "again": again,
        "sent": sent,
    }


async def _suspended(world: World) -> None:
    market, final = world.exchange.running.manager.markets[NAME], await world.exchange.running.manager.suspend(NAME)
    await until(lambda: market.now() > final)


async def _poor(world: World) -> None:
    """A trader whose bonds stopped counting."""
    account = world.exchange.running.manager.accounts.get(world.trader.account)
    assert account is not None
    account.bonds.clear()


async def _broken(world: World) -> None:
    """A database that takes no orders and no epochs any more."""
    market = world.exchange.running.manager.markets[NAME]
    with sqlite3.connect(world.exchange.folder / "server.db", timeout=20) as database:
        database.execute("ALTER TABLE orders RENAME TO lost_orders")
        database.execute("ALTER TABLE epochs RENAME TO lost_epochs")
    await until(lambda: not market.epochs.feeding)


async def _matched(world: World) -> None:
    """A match with both addresses known, a contract that the maker could report, and a hash that is taken."""
    other = await matched(world.exchange)
    _, world.kept["taken"] = other.maker.new_secret()
    await other.maker.ask(routes.INIT, await other.maker_contract(world.kept["taken"]))
    world.made = made = await matched(world.exchange)
    world.kept["secret"], world.kept["hash"] = made.maker.new_secret()
    world.kept["report"] = await made.maker_contract(world.kept["hash"])


async def _maker_cast(world: World) -> None:
    await world.match.maker.ask(routes.INIT, world.kept["report"])
    await world.match.taker.note(routes.AUDIT)


async def _taker_cast(world: World) -> None:
    """And a redemption that the maker could report."""
    made = world.match
    world.kept["answer"] = answer = await made.taker_contract(world.kept["hash"])
    await made.taker.ask(routes.INIT, answer)
    audit = await made.maker.note(routes.AUDIT)
    world.kept["redeem"] = made.maker.make_redemption(made.id, BTC, audit, world.kept["secret"])


async def _maker_redeemed(world: World) -> None:
    """And a redemption that the taker could report."""
    made = world.match
    await made.maker.ask(routes.REDEEM, world.kept["redeem"])
    audit = await made.taker.note(routes.AUDIT)
    world.kept["last"] = made.taker.make_redemption(made.id, LTC, audit, world.kept["secret"])


async def _complete(world: World) -> None:
    await world.match.taker.ask(routes.REDEEM, world.kept["last"])


_PATIENT = {"broadcast_timeout_ms": 600_000, "tx_wait_ms": 60_000}
"""The rows put the clock forward, and no match may run out of time over that."""

SCENES = {
    "malformed": Scene([Act(_nothing, envelopes.MALFORMED)]),
    "too many": Scene([Act(_nothing, envelopes.TOO_MANY)]),
    "accounts": Scene([Act(_bank, accounts.ROWS)], {"tx_wait_ms": accounts.WAIT_S * 1000}),
    "orders": Scene([Act(_market, orders.ROWS), Act(_suspended, orders.SUSPENDED), Act(_poor, orders.POOR)], _PATIENT),
    "no database": Scene([Act(_broken, orders.BROKEN)]),
    "swaps": Scene(
        [
            Act(_matched, swaps.MATCHED),
            Act(_maker_cast, swaps.MAKER_CAST),
            Act(_taker_cast, swaps.TAKER_CAST),
            Act(_maker_redeemed, swaps.MAKER_REDEEMED),
            Act(_complete, swaps.COMPLETE),
        ],
        _PATIENT,
    ),
    "answers": Scene([Act(_nothing, swaps.ANSWERS, together=True)], _PATIENT),
}
