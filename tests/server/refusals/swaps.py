"""Refusals of `init` and `redeem` at every stage of a match, and of answers to the server's own requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, until
from tests.server.refusals.table import Row, World, asks, refusal, speaker
from tests.server.settlement import MAKER_LOCK_S, QUANTITY, TAKER_LOCK_S, VALUE
from tests.server.trader import Trader

from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode as E
from twinlock.protocol.messages.orders import PreimageRequest, PreimageResponse
from twinlock.protocol.messages.swaps import Acknowledgement, Init, Match, Redeem
from twinlock.protocol.orders import Side
from twinlock.protocol.signing import signed
from twinlock.protocol.swap import Party
from twinlock.protocol.wire import Hex

LONG_PAST_S = 1_500_000_000


def _funds(world: World, who: str, asset: int) -> Any:
    return world.exchange.chains[asset].fund(speaker(world, who).new_key(), 10 * LOT)


async def contract(world: World, who: str, **changes: Any) -> Init:
    """The maker's or the taker's contract as agreed, but for the changes; each is funded with a coin of its own."""
    made = world.match
    if who == "maker":
        terms: dict[str, Any] = {"funds": _funds(world, who, LTC), "value": QUANTITY}
        return await made.maker_contract(changes.pop("secret_hash", world.kept["hash"]), **(terms | changes))
    terms = {"funds": _funds(world, who, BTC), "value": VALUE}
    return await made.taker_contract(changes.pop("secret_hash", world.kept["hash"]), **(terms | changes))


def _init(who: str, defect: str, code: E, **changes: Any) -> Row:
    return asks(who, routes.INIT, defect, code, lambda w: contract(w, who, **changes))


def _told(who: str, defect: str, code: E, **members: Any) -> Row:
    """The right contract, reported with other members and signed again; a callable sees the report."""

    async def make(world: World) -> Init:
        report: Init = world.kept["report"]
        found = {name: value(world, report) if callable(value) else value for name, value in members.items()}
        return signed(speaker(world, who).key, replace(report, **found))

    return asks(who, routes.INIT, defect, code, make)


def _unsigned(who: str, route: Any, name: str) -> tuple[Row, ...]:
    return (
        asks(who, route, "no signature", E.SIGNATURE, lambda w: replace(w.kept[name], sig=Hex())),
        asks(
            who, route, "signature of other bytes", E.SIGNATURE, lambda w: replace(w.kept[name], coin_id=Hex(bytes(36)))
        ),
        asks(who, route, "another's signature", E.SIGNATURE, lambda w: signed(w.guest.key, w.kept[name])),
    )


def _lock(world: World, seconds: int) -> int:
    return world.match.made_s + seconds


def _unlocks(who: str, defect: str, seconds: int) -> Row:
    """A lock time so long after the match."""
    return asks(who, routes.INIT, defect, E.CONTRACT, lambda w: contract(w, who, lock_time=_lock(w, seconds)))


async def _search_ends(world: World, who: str, route: Any, report: Any, *, again: bool) -> int:
    """A report whose transaction nobody has seen: what a repeat is told meanwhile, or what it is told in the end."""
    peer, side = speaker(world, who), Party.MAKER if who == "maker" else Party.TAKER
    settling = world.exchange.running.manager.executor.find(world.match.id)
    assert settling is not None
    waiting = asyncio.create_task(refusal(peer.ask(route, report)))
    await until(lambda: side in settling.searching)
    meanwhile = await refusal(peer.ask(route, report)) if again else None
    while not waiting.done():
        await world.pass_time()
    last = await waiting
    return last if meanwhile is None else meanwhile


def _searched(who: str, defect: str, code: E, *, again: bool) -> Row:
    async def provoke(world: World) -> int:
        lost = signed(speaker(world, who).key, replace(world.kept["report"], coin_id=Hex(b"\1" * 36)))
        return await _search_ends(world, who, routes.INIT, lost, again=again)

    return Row("init", defect, code, provoke)


def _redeemed(who: str, defect: str, code: E, *, again: bool) -> Row:
    async def provoke(world: World) -> int:
        lost = signed(speaker(world, who).key, replace(world.kept["redeem"], coin_id=Hex(b"\1" * 36)))
        return await _search_ends(world, who, routes.REDEEM, lost, again=again)

    return Row("redeem", defect, code, provoke)


def _cut(world: World, report: Init) -> Hex:
    return Hex(report.contract[:-1])


def _redeem(who: str, defect: str, code: E, **members: Any) -> Row:
    def make(world: World) -> Redeem:
        report: Redeem = world.kept["redeem"]
        found = {name: value(world, report) if callable(value) else value for name, value in members.items()}
        return signed(speaker(world, who).key, replace(report, **found))

    return asks(who, routes.REDEEM, defect, code, make)


def _unrelated(world: World, _: Any) -> Hex:
    chain, key = world.exchange.chains[BTC], world.match.maker.new_key()
    return Hex(chain.spend(chain.fund(key, LOT), key).point.tx_hash + bytes(4))


def _order_of(who: str) -> Callable[[World, Any], Hex]:
    return lambda world, _: speaker(world, who).matches[world.match.id].order_id


MATCHED = (
    *_unsigned("maker", routes.INIT, "report"),
    _told("maker", "unknown match", E.UNKNOWN_MATCH, match_id=Hex(bytes(32))),
    _told("maker", "order of the other side", E.UNKNOWN_MATCH, order_id=_order_of("taker")),
    _told("trader", "match of others", E.UNKNOWN_MATCH),
    asks(
        "taker",
        routes.INIT,
        "before the maker",
        E.SETTLEMENT_SEQUENCE,
        lambda w: signed(w.match.taker.key, replace(w.kept["report"], order_id=_order_of("taker")(w, None))),
    ),
    asks("maker", routes.REDEEM, "before any contract", E.SETTLEMENT_SEQUENCE, lambda w: _early(w, "maker")),
    asks("taker", routes.REDEEM, "as taker before any contract", E.SETTLEMENT_SEQUENCE, lambda w: _early(w, "taker")),
    _told("maker", "coin ID too short", E.CONTRACT, coin_id=Hex(bytes(35))),
    _told("maker", "contract cut off", E.CONTRACT, contract=_cut),
    _told("maker", "no contract", E.CONTRACT, contract=Hex()),
    _told("maker", "contract of another output", E.CONTRACT, coin_id=lambda _, r: Hex(r.coin_id[:32] + b"\0\0\0\1")),
    _told("maker", "output that is not there", E.CONTRACT, coin_id=lambda _, r: Hex(r.coin_id[:32] + b"\0\0\0\7")),
    _init("maker", "value too low", E.CONTRACT, value=QUANTITY - 1),
    _init("maker", "value too high", E.CONTRACT, value=QUANTITY + 1),
    _init("maker", "pays its maker", E.CONTRACT, recipient="self"),
    _init("maker", "fee rate too low", E.CONTRACT, rate=1),
    _unlocks("maker", "unlocks too soon", MAKER_LOCK_S - 1),
    _unlocks("maker", "unlocks with the taker's", TAKER_LOCK_S),
    asks(
        "maker",
        routes.INIT,
        "secret hash of another match",
        E.CONTRACT,
        lambda w: contract(w, "maker", secret_hash=w.kept["taken"]),
    ),
    _searched("maker", "the same while it is looked for", E.DUPLICATE_REQUEST, again=True),
    _searched("maker", "transaction never seen", E.TRANSACTION_UNDISCOVERED, again=False),
)

MAKER_CAST = (
    asks("maker", routes.INIT, "the same again", E.SETTLEMENT_SEQUENCE, lambda w: w.kept["report"]),
    asks("maker", routes.REDEEM, "before the taker's contract", E.SETTLEMENT_SEQUENCE, lambda w: _early(w, "maker")),
    _init("taker", "another secret hash", E.CONTRACT, secret_hash=bytes(32)),
    _init("taker", "value too low", E.CONTRACT, value=VALUE - 1),
    _init("taker", "pays its maker", E.CONTRACT, recipient="self"),
    _init("taker", "fee rate too low", E.CONTRACT, rate=1),
    _unlocks("taker", "unlocks too soon", TAKER_LOCK_S - 1),
)

TAKER_CAST = (
    *_unsigned("maker", routes.REDEEM, "redeem"),
    asks("taker", routes.INIT, "the same again", E.SETTLEMENT_SEQUENCE, lambda w: w.kept["answer"]),
    asks("taker", routes.REDEEM, "before the maker", E.SETTLEMENT_SEQUENCE, lambda w: _early(w, "taker")),
    _redeem("maker", "unknown match", E.UNKNOWN_MATCH, match_id=Hex(bytes(32))),
    _redeem("trader", "match of others", E.UNKNOWN_MATCH),
    _redeem("maker", "coin ID too short", E.CONTRACT, coin_id=Hex(bytes(35))),
    _redeem("maker", "wrong secret", E.INVALID_REQUEST, secret=Hex(bytes(32))),
    _redeem("maker", "secret too short", E.INVALID_REQUEST, secret=lambda _, r: Hex(r.secret[:31])),
    _redeem("maker", "no secret", E.INVALID_REQUEST, secret=Hex()),
    _redeem("maker", "spends something else", E.REDEMPTION, coin_id=_unrelated),
    _redeem("maker", "input that is not there", E.REDEMPTION, coin_id=lambda _, r: Hex(r.coin_id[:32] + b"\0\0\0\7")),
    _redeemed("maker", "the same while it is looked for", E.DUPLICATE_REQUEST, again=True),
    _redeemed("maker", "transaction never seen", E.TRANSACTION_UNDISCOVERED, again=False),
)

MAKER_REDEEMED = (
    asks("maker", routes.REDEEM, "the same again", E.SETTLEMENT_SEQUENCE, lambda w: w.kept["redeem"]),
    asks(
        "taker",
        routes.REDEEM,
        "wrong secret",
        E.INVALID_REQUEST,
        lambda w: signed(w.match.taker.key, replace(w.kept["last"], secret=Hex(b"\2" * 32))),
    ),
)

COMPLETE = (
    asks("maker", routes.INIT, "match that ended", E.UNKNOWN_MATCH, lambda w: w.kept["report"]),
    asks("taker", routes.REDEEM, "match that ended", E.UNKNOWN_MATCH, lambda w: w.kept["last"]),
)


def _early(world: World, who: str) -> Redeem:
    """A redemption out of turn; nobody looks at what it names."""
    peer = speaker(world, who)
    report = Redeem(
        order_id=peer.matches[world.match.id].order_id,
        match_id=Hex(world.match.id),
        coin_id=Hex(bytes(36)),
        secret=Hex(bytes(32)),
    )
    return signed(peer.key, report)


# Answers to the server's own requests ------------------------------------------------------------------


async def _trade(world: World, taker: Trader) -> None:
    """A booked sell by the trader, taken by somebody else."""
    chains, trader = world.exchange.chains, world.trader
    funds = chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    await trader.booked(receipt.order_id, MARKET)
    money = chains[BTC].fund(taker.new_key(), LOT)
    await taker.place(taker.limit_order(MARKET, Side.BUY, LOT, RATE, money))


Answers = Callable[[Trader, Sequence[Match]], list[Acknowledgement]]


def _acknowledges(defect: str, code: E, answers: Answers) -> Row:
    """A taker whose answer to `match` is wrong; the server names the defect under the number of its own request."""

    async def provoke(world: World) -> int:
        taker = await world.exchange.trader()
        taker.acknowledge = lambda found: answers(taker, found)
        await _trade(world, taker)
        code = (await taker.complaint()).rpc_code
        await taker.shut()
        return code

    return Row("match", defect, code, provoke)


def _each(**changes: Any) -> Answers:
    return lambda taker, found: [replace(answer, **changes) for answer in taker.acknowledge_all(found)]


def _capitals(taker: Trader, found: Sequence[Match]) -> list[Acknowledgement]:
    return [replace(answer, address=answer.address.upper()) for answer in taker.acknowledge_all(found)]


def _own_chain(taker: Trader, found: Sequence[Match]) -> list[Acknowledgement]:
    """The taker buys the base coin, and asks to be paid in the quote coin."""
    address = taker.chains[BTC].address(taker.new_key())
    return [replace(answer, address=address) for answer in taker.acknowledge_all(found)]


class Odd(Trader):
    """A trader whose preimages are not what was asked for."""

    preimage = b""

    def _answer(self, route: str, payload: Any) -> object:
        if isinstance(payload, PreimageRequest):
            return PreimageResponse(preimage=Hex(self.preimage))
        return super()._answer(route, payload)


def _reveals(defect: str, code: E, preimage: bytes) -> Row:
    async def provoke(world: World) -> int:
        exchange = world.exchange
        async with exchange.stranger(Odd) as odd:
            assert isinstance(odd, Odd)
            odd.preimage = preimage
            await odd.register(BTC, 500_000)
            funds = exchange.chains[LTC].fund(odd.new_key(), 3 * LOT)
            await odd.place(odd.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
            return (await odd.complaint()).rpc_code

    return Row("preimage", defect, code, provoke)


ANSWERS = (
    _acknowledges("too few", E.ACK_COUNT, lambda _, __: []),
    _acknowledges("too many", E.ACK_COUNT, lambda t, found: t.acknowledge_all(found) * 2),
    _acknowledges("of another match", E.ID_MISMATCH, _each(match_id=Hex(bytes(32)))),
    _acknowledges("not signed", E.SIGNATURE, _each(sig=Hex())),
    _acknowledges("badly signed", E.SIGNATURE, _each(sig=Hex(b"\x30"))),
    _acknowledges("no address", E.ORDER_PARAMETER, _each(address="")),
    _acknowledges("no such address", E.ORDER_PARAMETER, _each(address="nowhere")),
    _acknowledges("address in capitals", E.ORDER_PARAMETER, _capitals),
    _acknowledges("address of the wrong chain", E.ORDER_PARAMETER, _own_chain),
    _reveals("too short", E.INVALID_PREIMAGE, bytes(31)),
    _reveals("too long", E.INVALID_PREIMAGE, bytes(33)),
    _reveals("empty", E.INVALID_PREIMAGE, b""),
    _reveals("of another order", E.PREIMAGE_COMMITMENT_MISMATCH, bytes(32)),
)
