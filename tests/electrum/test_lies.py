"""Servers that lie about a chain: none of their lies is told on, and an honest server takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from twinlock.chain.coins import coin
from twinlock.chain.script import p2wpkh
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx, TxIn, TxOut
from twinlock.electrum import methods
from twinlock.electrum.errors import LyingServerError, UnavailableError
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.transport import Endpoint, Transport
from twinlock.electrum.view import ChainView
from twinlock.seams import SeededEntropy, VirtualClock

pytestmark = pytest.mark.anyio

COIN = coin("btc", "regtest")
SCRIPT = p2wpkh(bytes(range(20)))
LIAR, HONEST = "tcp://liar:1", "tcp://honest:2"


class Rig:
    """A chain with a payment in it, a liar and an honest server over it, and a view that prefers the liar."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.chain = SimulatedChain(COIN)
        self.chain.mine(110)
        self.txid = self.chain.pay(SCRIPT, 123_456)
        self.chain.mine(5)
        self.liar, self.honest = SimulatedServer(self.chain), SimulatedServer(self.chain)

    async def dial(self, endpoint: Endpoint) -> Transport:
        return await (self.liar if endpoint.host == "liar" else self.honest).dial(endpoint)

    def view(self, *servers: str) -> ChainView:
        entropy = SeededEntropy(1)
        return ChainView(COIN, servers or (LIAR, HONEST), clock=self.clock, entropy=entropy, dial=self.dial)

    async def passing(self, work: Any, seconds: float = 120) -> Any:
        """The result of `work` while time passes for it."""
        task = asyncio.ensure_future(work)
        for _ in range(int(seconds * 4)):
            if task.done():
                break
            await self.clock.advance(0.25)
        return await task

    async def until(self, holds: Callable[[], bool], seconds: float = 120) -> None:
        """Let time pass until something holds."""
        for _ in range(int(seconds * 4)):
            if holds():
                return
            await self.clock.advance(0.25)
        assert holds()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def without(key: str) -> Callable[[Any], Any]:
    return lambda result: {k: v for k, v in result.items() if k != key}


def change(**members: Any) -> Callable[[Any], Any]:
    return lambda result: result | members


def each(lie: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda results: [lie(result) for result in results]


LIES: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("a confirmation deeper than the truth", "get_history", each(change(height=50))),
    ("a confirmation above the tip", "get_history", each(change(height=10_000))),
    ("a mempool entry as confirmed", "get_history", each(lambda e: e | {"height": 100})),
    ("the same entry twice", "get_history", lambda entries: entries * 2),
    ("no height", "get_history", each(without("height"))),
    ("a height as text", "get_history", each(change(height="111"))),
    ("an entry made up", "get_history", lambda entries: [*entries, {"tx_hash": "ab" * 32, "height": 112}]),
    ("another proof", "get_merkle", change(merkle=["ab" * 32])),
    ("a proof of another block", "get_merkle", change(block_height=3)),
    ("a proof of another place", "get_merkle", change(pos=0)),
    ("no proof", "get_merkle", lambda _: None),
    ("another transaction", "transaction.get", lambda raw: raw[:-8] + "00000001"),
    ("half a transaction", "transaction.get", lambda raw: raw[: len(raw) // 2]),
]

NAMES = {
    method.name.split("blockchain.")[-1].removeprefix("scripthash."): method.name
    for method in (methods.SCRIPT_HISTORY, methods.SCRIPT_UNSPENT)
} | {
    "get_merkle": methods.MERKLE.name,
    "transaction.get": methods.TRANSACTION.name,
}


@pytest.mark.parametrize(("method", "lie"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
async def test_a_lie_about_a_coin_is_never_told_on(rig: Rig, method: str, lie: Callable[[Any], Any]) -> None:
    rig.liar.lies[NAMES[method]] = lie
    point = CoinPoint(bytes.fromhex(rig.txid)[::-1], 0)
    async with rig.view() as view:
        status = await rig.passing(view.output_status(point, SCRIPT))
        assert status is not None
        assert (status.value, status.height, status.confirmations, status.unspent) == (123_456, 111, 5, True)
    async with rig.view(LIAR) as view:
        with pytest.raises(UnavailableError) as alone:
            await rig.passing(view.output_status(point, SCRIPT))
        assert isinstance(alone.value.__cause__, LyingServerError)


async def test_a_lie_about_a_value_is_never_told_on(rig: Rig) -> None:
    rig.liar.lies[methods.SCRIPT_UNSPENT.name] = each(change(value=99_999_999))
    async with rig.view() as view:
        assert [coin.value for coin in await rig.passing(view.unspent(SCRIPT))] == [123_456]


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        (methods.HEADERS_SUBSCRIBE.name, change(hex="00" * 80)),
        (methods.HEADERS_SUBSCRIBE.name, change(height=5)),
        (methods.BLOCK_HEADERS.name, lambda reply: reply | {"headers": reply["headers"][:-1]}),
        (methods.BLOCK_HEADERS.name, lambda reply: reply | {"headers": ["00" * 80] * len(reply["headers"])}),
        (methods.BLOCK_HEADERS.name, change(count=0, headers=[])),
        (methods.FEATURES.name, change(genesis_hash="00" * 32)),
        (methods.VERSION.name, lambda _: ["x", "9.9"]),
    ],
)
async def test_a_lie_about_the_chain_makes_way_for_an_honest_server(
    rig: Rig, method: str, lie: Callable[[Any], Any]
) -> None:
    rig.liar.lies[method] = lie
    async with rig.view() as view:
        tip = await rig.passing(view.tip())
        assert (tip.height, tip.block_hash) == (rig.chain.height, rig.chain.headers[-1].hash_hex)


async def test_a_watched_script_is_told_of_by_the_honest_server(rig: Rig) -> None:
    rig.liar.lies[methods.SCRIPT_HISTORY.name] = lambda _: []
    async with rig.view() as view:
        state = await rig.passing(anext(view.watch(SCRIPT)))
        assert [(entry.txid, entry.height) for entry in state.history] == [(rig.txid, 111)]


async def test_a_silent_server_makes_way(rig: Rig) -> None:
    async with rig.view() as view:
        await rig.passing(view.tip())
        rig.liar.mute = True
        assert await rig.passing(view.confirmations(rig.txid, SCRIPT)) == 5


async def test_no_question_waits_longer_than_patience(rig: Rig) -> None:
    rig.liar.down = rig.honest.down = True
    async with rig.view() as view:
        for question in (
            view.tip(),
            view.median_time_past(),
            view.header(3),
            view.script_history(SCRIPT),
            view.unspent(SCRIPT),
            view.transaction(rig.txid),
            view.confirmations(rig.txid, SCRIPT),
            view.output(CoinPoint(bytes(32), 0)),
            view.broadcast(rig.chain.tx(rig.txid).serialize()),
            view.fee_rate(),
        ):
            with pytest.raises(UnavailableError):
                await rig.passing(question, seconds=62)


async def test_a_broadcast_answered_with_another_id_blames_the_server(rig: Rig) -> None:
    rig.liar.lies[methods.BROADCAST.name] = lambda _: "ab" * 32
    raw = rig.chain.tx(rig.chain.pay(SCRIPT, 5_000)).serialize()
    async with rig.view() as view:
        await rig.passing(view.tip())
        await rig.passing(view.broadcast(raw))
        await rig.until(lambda: rig.liar.sessions == 0)


async def test_a_coin_at_a_busy_address_costs_a_bounded_search(rig: Rig) -> None:
    """Anybody may name a coin at an exchange's address: one proof and one list answer for it."""
    for _ in range(60):
        rig.chain.pay(SCRIPT, 1_000)
    rig.chain.mine()
    async with rig.view(HONEST) as view:
        status = await rig.passing(view.output(CoinPoint(bytes.fromhex(rig.txid)[::-1], 0)))
        assert (status.value, status.confirmations, status.unspent) == (123_456, 6, True)
        assert rig.honest.requests.count(methods.MERKLE.name) == 1
        assert rig.honest.requests.count(methods.TRANSACTION.name) == 1


async def test_old_blocks_are_proven_down_from_the_tip() -> None:
    rig = Rig()
    rig.chain.mine(4300)
    async with rig.view() as view:
        entry = (await rig.passing(view.script_history(SCRIPT))).history[0]
        assert entry.height == 111
        assert await rig.passing(view.confirmations(rig.txid, SCRIPT)) == rig.chain.height - 110
        header = await rig.passing(view.header(0))
        assert header.hash_hex == COIN.genesis_hash


async def test_an_old_block_made_up_is_seen_through() -> None:
    rig = Rig()
    rig.chain.mine(4300)

    def bend(reply: Any) -> Any:
        return (
            reply | {"headers": [h[:8] + "ff" * 32 + h[72:] for h in reply["headers"]]}
            if reply["count"] < 2016
            else reply
        )

    rig.liar.lies[methods.BLOCK_HEADERS.name] = bend
    async with rig.view() as view:
        assert await rig.passing(view.confirmations(rig.txid, SCRIPT)) == rig.chain.height - 110
        assert rig.liar.sessions == 0


@pytest.mark.parametrize(
    ("estimate", "rate"), [("-1", 10), ("0.00001001", 2), ("0.00000001", 1), ("5", 100), ("NaN", 10)]
)
async def test_fee_rates_are_rounded_up_and_bounded(rig: Rig, estimate: str, rate: int) -> None:
    rig.honest.fee_rate = estimate
    if estimate == "NaN":
        rig.honest.lies[methods.ESTIMATE_FEE.name] = lambda _: "NaN"
    async with rig.view(HONEST) as view:
        assert await rig.passing(view.fee_rate(2)) == rate


async def test_a_reorg_to_the_same_height_is_proven_anew(rig: Rig) -> None:
    async with rig.view(HONEST) as view:
        states = view.watch(SCRIPT)
        await rig.passing(anext(states))
        before = rig.honest.requests.count(methods.MERKLE.name)
        rig.chain.reorg(6, 6)
        await rig.until(lambda: rig.honest.requests.count(methods.MERKLE.name) > before)
        assert (await rig.passing(view.tip())).block_hash == rig.chain.headers[-1].hash_hex
        assert await rig.passing(view.confirmations(rig.txid, SCRIPT)) == rig.chain.height - 109


async def test_a_server_that_keeps_us_on_a_chain_of_its_own_is_left(rig: Rig) -> None:
    """It lies in nothing that we could see without asking somebody else."""
    stale = SimulatedChain(COIN)
    stale.mine(115)
    rig.liar = SimulatedServer(stale)
    rig.chain.mine(3)
    async with rig.view() as view:
        assert (await rig.passing(view.tip())).height == 115
        await rig.until(lambda: rig.liar.sessions == 0, seconds=700)
        assert await rig.passing(view.confirmations(rig.txid, SCRIPT)) == 8
        assert (await rig.passing(view.tip())).block_hash == rig.chain.headers[-1].hash_hex


async def test_a_server_that_is_as_good_as_the_others_is_kept(rig: Rig) -> None:
    async with rig.view() as view:
        await rig.passing(view.tip())
        await rig.clock.advance(2000)
        assert rig.liar.sessions == 1
        rig.honest.down = True
        await rig.clock.advance(2000)
        assert rig.liar.sessions == 1


async def test_a_server_that_is_always_a_block_late_is_kept(rig: Rig) -> None:
    """At no look it knows the newest block; at each it knows what was the newest one at the look before."""
    rig.liar.lies[methods.HEADERS_SUBSCRIBE.name] = lambda _: {
        "height": rig.chain.height - 1,
        "hex": rig.chain.headers[-2].serialize().hex(),
    }
    async with rig.view() as view:
        await rig.passing(view.tip())
        for _ in range(100):
            rig.chain.mine()
            await rig.clock.advance(30)
        assert (await rig.passing(view.tip())).height == rig.chain.height - 1
        assert rig.liar.sessions == 1


async def test_no_single_server_keeps_a_transaction_from_the_network(rig: Rig) -> None:
    source = rig.chain.tx(rig.txid)
    spend = Tx(2, (TxIn(source.hash, 0),), (TxOut(120_000, SCRIPT),))
    rig.liar.refusals[methods.BROADCAST.name] = "bad-txns-inputs-missingorspent"
    rig.liar.refusals[methods.TRANSACTION.name] = "No such transaction"
    async with rig.view() as view:
        assert await rig.passing(view.broadcast(spend.serialize())) == spend.txid
        assert spend.txid in rig.chain.mempool
    rig.liar.refusals.clear()
    rig.liar.lies[methods.BROADCAST.name] = lambda _: spend.txid
    rig.honest.requests.clear()
    async with rig.view() as view:
        assert await rig.passing(view.broadcast(spend.serialize())) == spend.txid
        await rig.until(lambda: methods.BROADCAST.name in rig.honest.requests)
