"""Refusals of `connect`, of bonds, and of what anybody may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from tests.server.conftest import BOND, BTC, LTC, until
from tests.server.refusals.table import Row, World, asks, refusal

from twinlock.chain.families import family_of
from twinlock.chain.terms import CoinPoint
from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode as E
from twinlock.protocol.constants import PREPAID_ASSET_ID
from twinlock.protocol.messages.account import Connect, PostBond, PreValidateBond
from twinlock.protocol.messages.book import BookSubscription, BookUnsubscription, CandlesRequest, SnapshotSubscription
from twinlock.protocol.messages.status import MatchStatusRequest, OrderStatusRequest
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex

DAY_S = 86_400
WAIT_S = 14
"""How long the server of this scene looks for a transaction."""
NAME = "ltc_btc"


def _now_s(world: World) -> int:
    return world.clock.now_ms() // 1000


def _connect(world: World) -> Connect:
    return signed(world.trader.key, Connect(account_id=Hex(world.trader.account), timestamp=1))


def _offer(*, amount: int = BOND, days: int = 60, asset: int = BTC, version: int = 0, tx: bytes = b"") -> Any:
    """A request to look at a bond, signed by the guest."""

    def make(world: World) -> PreValidateBond:
        payment = world.guest.bond_payment(BTC, amount, _now_s(world) + days * DAY_S)
        request = PreValidateBond(
            account_key=Hex(world.guest.key.public), asset_id=asset, version=version, tx=Hex(tx or payment.unsigned)
        )
        return signed(world.guest.key, request)

    return make


def _changed(make: Callable[[World], Any], **changes: Any) -> Callable[[World], Any]:
    """The same message with other members under the old signature."""
    return lambda world: replace(make(world), **changes)


def _of_another_account(world: World) -> PreValidateBond:
    payment = world.trader.bond_payment(BTC, BOND, _now_s(world) + 60 * DAY_S)
    request = PreValidateBond(
        account_key=Hex(world.guest.key.public), asset_id=BTC, version=0, tx=Hex(payment.unsigned)
    )
    return signed(world.guest.key, request)


def _post(world: World, coin_id: bytes, *, asset: int = BTC, version: int = 0) -> PostBond:
    key = world.guest.key
    return signed(key, PostBond(account_key=Hex(key.public), asset_id=asset, version=version, coin_id=Hex(coin_id)))


def _on_chain(amount: int = BOND, days: int = 60, output: int = 0, *, spent: bool = False) -> Any:
    """A bond that is confirmed, posted by the guest whom it belongs to."""

    def make(world: World) -> PostBond:
        chain = world.exchange.chains[BTC]
        payment = world.guest.bond_payment(BTC, amount, _now_s(world) + days * DAY_S)
        txid = chain.send(payment)
        chain.mine()
        if spent:
            chain.claim(CoinPoint(payment.tx.hash, 0))
        return _post(world, family_of(chain.coin).coin_id(txid, output))

    return make


def _plain_coin(world: World) -> PostBond:
    chain = world.exchange.chains[BTC]
    funds = chain.fund(world.guest.new_key(), BOND)
    return _post(world, family_of(chain.coin).coin_id(funds.point.txid, funds.point.index))


def _unconfirmed(world: World) -> PostBond:
    chain = world.exchange.chains[BTC]
    payment = world.guest.bond_payment(BTC, BOND, _now_s(world) + 60 * DAY_S)
    return _post(world, family_of(chain.coin).coin_id(chain.send(payment), 0))


async def _posted_twice(world: World) -> int:
    request, desk = _unconfirmed(world), world.exchange.running.manager.bonds
    waiting = asyncio.create_task(world.guest.ask(routes.POSTBOND, request))
    await until(lambda: desk.confirming == 1)
    code = await refusal(world.guest.ask(routes.POSTBOND, request))
    waiting.cancel()
    await world.pass_time(WAIT_S + 1)
    await until(lambda: desk.confirming == 0)
    return code


async def _never_seen(world: World) -> int:
    desk = world.exchange.running.manager.bonds
    waiting = asyncio.create_task(refusal(world.guest.ask(routes.POSTBOND, _post(world, b"\1" * 36))))
    await until(lambda: desk.confirming == 1)
    await world.pass_time(WAIT_S + 1)
    return await waiting


async def _too_many(world: World) -> int:
    desk, guest = world.exchange.running.manager.bonds, world.guest
    posts = [_post(world, number.to_bytes(36, "big")) for number in range(33)]
    waiting = [asyncio.create_task(refusal(guest.ask(routes.POSTBOND, post))) for post in posts[:32]]
    await until(lambda: desk.confirming == 32)
    code = await refusal(guest.ask(routes.POSTBOND, posts[32]))
    await world.pass_time(WAIT_S + 1)
    await asyncio.gather(*waiting)
    return code


def _code(name: str) -> Any:
    return lambda world: _post(world, world.kept[name], asset=PREPAID_ASSET_ID)


def _match(match_id: bytes = bytes(32), base: int = LTC) -> list[MatchStatusRequest]:
    return [MatchStatusRequest(base=base, quote=BTC, match_id=Hex(match_id))]


def _order(order_id: bytes = bytes(32), base: int = LTC) -> list[OrderStatusRequest]:
    return [OrderStatusRequest(base=base, quote=BTC, order_id=Hex(order_id))]


CONNECT = (
    asks(
        "guest",
        routes.CONNECT,
        "unknown account",
        E.ACCOUNT_NOT_FOUND,
        lambda w: replace(_connect(w), account_id=Hex(b"\7" * 32)),
    ),
    asks(
        "guest",
        routes.CONNECT,
        "short account ID",
        E.AUTHENTICATION,
        lambda w: replace(_connect(w), account_id=Hex(bytes(31))),
    ),
    asks("guest", routes.CONNECT, "no account ID", E.AUTHENTICATION, lambda w: replace(_connect(w), account_id=Hex())),
    asks("guest", routes.CONNECT, "signature of other bytes", E.SIGNATURE, lambda w: replace(_connect(w), timestamp=2)),
    asks("guest", routes.CONNECT, "no signature", E.SIGNATURE, lambda w: replace(_connect(w), sig=Hex())),
    asks("guest", routes.CONNECT, "signature not DER", E.SIGNATURE, lambda w: replace(_connect(w), sig=Hex(bytes(64)))),
    asks("guest", routes.CONNECT, "another's signature", E.SIGNATURE, lambda w: signed(w.guest.key, _connect(w))),
)

PREVALIDATE = (
    asks("guest", routes.PREVALIDATEBOND, "no signature", E.SIGNATURE, _changed(_offer(), sig=Hex())),
    asks("guest", routes.PREVALIDATEBOND, "signature of other bytes", E.SIGNATURE, _changed(_offer(), version=1)),
    asks("guest", routes.PREVALIDATEBOND, "no key", E.SIGNATURE, _changed(_offer(), account_key=Hex(b"\5" * 33))),
    asks("guest", routes.PREVALIDATEBOND, "asset without bonds", E.BOND, _offer(asset=LTC)),
    asks("guest", routes.PREVALIDATEBOND, "unknown asset", E.BOND, _offer(asset=42)),
    asks("guest", routes.PREVALIDATEBOND, "unknown version", E.BOND, _offer(version=1)),
    asks("guest", routes.PREVALIDATEBOND, "not a transaction", E.BOND, _offer(tx=b"\1\2\3")),
    asks("guest", routes.PREVALIDATEBOND, "too little", E.BOND, _offer(amount=BOND - 1)),
    asks("guest", routes.PREVALIDATEBOND, "unlocks too soon", E.BOND, _offer(days=0)),
    asks("guest", routes.PREVALIDATEBOND, "of another account", E.BOND, _of_another_account),
)

POST = (
    asks("guest", routes.POSTBOND, "no signature", E.SIGNATURE, lambda w: replace(_post(w, bytes(36)), sig=Hex())),
    asks(
        "guest",
        routes.POSTBOND,
        "signature of other bytes",
        E.SIGNATURE,
        lambda w: replace(_post(w, bytes(36)), version=1),
    ),
    asks("guest", routes.POSTBOND, "asset without bonds", E.BOND, lambda w: _post(w, bytes(36), asset=LTC)),
    asks("guest", routes.POSTBOND, "unknown version", E.BOND, lambda w: _post(w, bytes(36), version=1)),
    asks("guest", routes.POSTBOND, "coin ID too short", E.BOND, lambda w: _post(w, bytes(35))),
    Row("postbond", "coin never seen", E.BOND, _never_seen),
    asks("guest", routes.POSTBOND, "not output 0", E.BOND, _on_chain(output=1)),
    asks("guest", routes.POSTBOND, "not a bond", E.BOND, _plain_coin),
    asks("guest", routes.POSTBOND, "too little", E.BOND, _on_chain(amount=BOND - 1)),
    asks("guest", routes.POSTBOND, "unlocks too soon", E.BOND, _on_chain(days=0)),
    asks("guest", routes.POSTBOND, "spent", E.BOND, _on_chain(spent=True)),
    asks("guest", routes.POSTBOND, "bond of another account", E.BOND, lambda w: _post(w, w.kept["bond"])),
    asks("guest", routes.POSTBOND, "unknown code", E.BOND, lambda w: _post(w, bytes(16), asset=PREPAID_ASSET_ID)),
    asks("guest", routes.POSTBOND, "code too short", E.BOND, lambda w: _post(w, bytes(15), asset=PREPAID_ASSET_ID)),
    asks("guest", routes.POSTBOND, "code that was used", E.BOND, _code("used")),
    asks("guest", routes.POSTBOND, "code that expires within a day", E.BOND, _code("old")),
    Row("postbond", "the same while it confirms", E.BOND_CONFIRMING, _posted_twice),
    Row("postbond", "one more than an address may wait for", E.TOO_MANY_REQUESTS, _too_many),
)

PUBLIC = (
    asks("guest", routes.ORDERBOOK, "unknown market", E.UNKNOWN_MARKET, lambda _: BookSubscription(base=LTC, quote=42)),
    asks(
        "guest",
        routes.ORDERBOOK,
        "market turned round",
        E.UNKNOWN_MARKET,
        lambda _: BookSubscription(base=BTC, quote=LTC),
    ),
    asks(
        "guest", routes.UNSUB_ORDERBOOK, "unknown market", E.UNKNOWN_MARKET, lambda _: BookUnsubscription(market="a_b")
    ),
    asks(
        "guest", routes.UNSUB_ORDERBOOK, "not subscribed", E.NOT_SUBSCRIBED, lambda _: BookUnsubscription(market=NAME)
    ),
    asks("guest", routes.FEE_RATE, "unknown asset", E.INVALID_REQUEST, lambda _: 42),
    asks("guest", routes.FEE_RATE, "asset beyond 64 bits", E.INVALID_REQUEST, lambda _: 2**64),
    asks(
        "trader",
        routes.SUBSCRIBE_MM_SNAPSHOTS,
        "unknown market",
        E.UNKNOWN_MARKET,
        lambda _: SnapshotSubscription(market=""),
    ),
    asks(
        "guest",
        routes.CANDLES,
        "unknown market",
        E.UNKNOWN_MARKET,
        lambda _: CandlesRequest(base=42, quote=BTC, bin_size="5m"),
    ),
    asks(
        "guest",
        routes.CANDLES,
        "unknown bin",
        E.HTTP_ROUTE,
        lambda _: CandlesRequest(base=LTC, quote=BTC, bin_size="7m"),
    ),
)

STATUS = (
    asks("trader", routes.MATCH_STATUS, "unknown market", E.INVALID_REQUEST, lambda _: _match(base=42)),
    asks("trader", routes.MATCH_STATUS, "ID too short", E.INVALID_REQUEST, lambda _: _match(bytes(31))),
    asks("trader", routes.ORDER_STATUS, "nothing asked", E.INVALID_REQUEST, lambda _: []),
    asks("trader", routes.ORDER_STATUS, "unknown market", E.INVALID_REQUEST, lambda _: _order(base=42)),
    asks("trader", routes.ORDER_STATUS, "ID too long", E.INVALID_REQUEST, lambda _: _order(bytes(33))),
)

ROWS = (*CONNECT, *PREVALIDATE, *POST, *PUBLIC, *STATUS)
