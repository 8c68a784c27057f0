"""Stories of a tower on simulated chains, with the client dead: each ends with the wallets asserted to the atom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.client.full_disk import full_disk
from tests.client.test_settlement import fee, reached
from tests.client.world import FUNDS, SYMBOLS, Fuse, World, world

from twinlock.chain.coins import coin
from twinlock.client.config import WalletConfig
from twinlock.client.seams import Chain
from twinlock.client.tower.config import TowerPace
from twinlock.client.tower.courier import Courier, DeliveryError, PacketRecord, packet_of
from twinlock.client.tower.packet import Packet, PacketError, decode, encode
from twinlock.client.tower.reception import Reception
from twinlock.client.tower.shelf import Shelf
from twinlock.client.tower.watcher import TowerEvent, Watcher
from twinlock.protocol.swap import Party
from twinlock.seams import SeededEntropy

pytestmark = pytest.mark.anyio

KEY = bytes(range(32))


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        await it.funded("alice", "bob")
        yield it


class Post:
    """A tower in the world. What it has on disk outlives `up`."""

    def __init__(self, it: World, folder: Path) -> None:
        self.it = it
        self.folder = folder
        self.events: list[TowerEvent] = []
        self.watcher: Watcher

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Watcher]:
        async with AsyncExitStack() as stack:
            shelf = Shelf(self.folder)
            stack.callback(shelf.close)
            chains: dict[str, Chain] = {}
            for symbol in SYMBOLS.values():
                view = self.it._view(Fuse(), coin(symbol, "regtest"), WalletConfig(symbol=symbol, electrum=()))
                entering = asyncio.create_task(stack.enter_async_context(view))
                await self.it.until(entering.done)
                chains[symbol] = await entering
            self.watcher = Watcher(shelf, chains, self.it.clock, TowerPace(check=5), self.events.append)
            task = asyncio.create_task(self.watcher.run())
            await asyncio.sleep(0)
            try:
                yield self.watcher
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def did(self, what: str) -> list[TowerEvent]:
        return [event for event in self.events if event.what == what]


async def packed(it: World, name: str) -> Packet:
    """What the trader would leave with its tower now."""
    desk = it.traders[name].venue().desk
    record = await it.call(packet_of(desk, it.swap(name)))
    assert isinstance(record, PacketRecord)
    return decode(record.body)


async def total_after(it: World, name: str) -> dict[str, int]:
    """What the wallets hold when the trader is back."""
    await it.start(name)
    await it.mine(2)
    await it.clock.advance(10)
    return it.total(name)


async def test_a_takers_tower_reads_the_secret_and_takes_the_makers_coin(it: World, tmp_path: Path) -> None:
    before = it.total("bob")
    maker, taker = await it.matched()
    await it.settle(lambda: reached(it, "bob", "swap_sent"))
    held = await packed(it, "bob")
    await it.crash("bob")
    post = Post(it, tmp_path)
    async with post.up() as watcher:
        assert watcher.take(held)
        await it.settle(lambda: bool(post.did("done")), rounds=60)
    (redeemed,) = post.did("redeeming")
    gained = await total_after(it, "bob")
    record = it.swap("bob")
    assert record.outcome == "swapped"
    chain = it.chains[record.other_asset]
    tx = chain.tx(redeemed.txid)
    assert gained["ltc"] == before["ltc"] + tx.total_out
    assert gained["btc"] == before["btc"] - 25_000 - fee(it, record.own_asset, record.own_tx)
    assert maker.match_id == taker.match_id


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_a_tower_takes_the_contract_back_when_everybody_is_gone(it: World, tmp_path: Path, name: str) -> None:
    before = it.total(name)
    await it.matched()
    party = Party.MAKER if name == "alice" else Party.TAKER
    if party is Party.MAKER:
        await it.crash("bob")
    await it.settle(lambda: reached(it, name, "swap_sent"))
    held = await packed(it, name)
    assert not held.secret
    lock = it.swap(name).swap.terms.locks[party]
    for other in list(it.traders):
        await it.crash(other)
    post = Post(it, tmp_path)
    async with post.up() as watcher:
        watcher.take(held)
        await it.clock.advance(60)
        assert not post.did("refunding")
        await it.pass_locks(lock)
        await it.settle(lambda: bool(post.did("done")))
    after = await total_after(it, name)
    record = it.swap(name)
    assert record.outcome == "refunded"
    (refund,) = post.did("refunding")
    raw = it.chains[record.own_asset].tx(refund.txid).serialize()
    lost = fee(it, record.own_asset, record.own_tx) + fee(it, record.own_asset, raw)
    assert before[SYMBOLS[record.own_asset]] - after[SYMBOLS[record.own_asset]] == lost


async def test_a_tower_that_was_killed_goes_on_where_it_was(it: World, tmp_path: Path) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "bob", "swap_sent"))
    held = await packed(it, "bob")
    await it.crash("bob")
    post = Post(it, tmp_path)
    async with post.up() as watcher:
        watcher.take(held)
    await it.settle(lambda: reached(it, "alice", "redeemed"))
    async with post.up():
        await it.settle(lambda: bool(post.did("redeeming")))
    async with post.up():
        await it.settle(lambda: bool(post.did("done")), rounds=60)
    assert len(post.did("redeeming")) == 1
    assert not list((tmp_path / "packets").iterdir())
    await total_after(it, "bob")
    assert it.swap("bob").outcome == "swapped"


async def test_a_tower_beside_a_living_client_does_no_harm(it: World, tmp_path: Path) -> None:
    before = {name: it.total(name) for name in ("alice", "bob")}
    await it.matched()
    post = Post(it, tmp_path)
    async with post.up() as watcher:
        await it.settle(lambda: reached(it, "bob", "swap_sent"))
        watcher.take(await packed(it, "bob"))
        watcher.take(await packed(it, "alice"))
        await it.settle(lambda: len(post.did("done")) == 2, rounds=60)
    assert {it.swap(name).outcome for name in ("alice", "bob")} == {"swapped"}
    for name, sign in (("alice", -1), ("bob", 1)):
        gain = {symbol: it.total(name)[symbol] - before[name][symbol] for symbol in SYMBOLS.values()}
        assert 0 <= sign * 10_000_000 - gain["ltc"] < 5_000
        assert 0 <= -sign * 25_000 - gain["btc"] < 5_000


async def test_a_makers_tower_sees_a_redemption_through_whose_fee_was_too_low(it: World, tmp_path: Path) -> None:
    """The maker revealed its secret and died; its redemption fell out of the mempool."""
    await it.matched()
    await it.settle(lambda: reached(it, "bob", "swap_confirmed"))
    await it.mine(0)
    await it.until(lambda: bool(it.swap("alice").redeem_tx), seconds=600)
    await it.until(lambda: it.swap("alice").swap.revealed)
    held = await packed(it, "alice")
    assert held.secret
    record = it.swap("alice")
    for name in ("alice", "bob"):
        await it.crash(name)
    chain = it.chains[record.other_asset]
    for txid in list(chain.mempool):
        chain.forget(txid)
    post = Post(it, tmp_path)
    async with post.up() as watcher:
        watcher.take(held)
        await it.settle(lambda: bool(post.did("redeeming")))
        await it.settle(lambda: bool(post.did("done")), rounds=60)
    assert not post.did("refunding")
    await total_after(it, "alice")
    assert it.swap("alice").outcome == "swapped"


async def test_what_would_not_work_is_refused_at_once(it: World, tmp_path: Path) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "bob", "swap_sent"))
    held = await packed(it, "bob")
    assert held.theirs is not None
    replace = msgspec.structs.replace
    swapped = (held.theirs.ladder[0],)
    bad = [
        replace(held, own=replace(held.own, value=held.own.value + 1)),
        replace(held, own=replace(held.own, ladder=())),
        replace(held, own=replace(held.own, ladder=held.own.ladder[::-1])),
        replace(held, own=replace(held.own, ladder=swapped)),
        replace(held, theirs=replace(held.theirs, coin_id=held.own.coin_id)),
        replace(held, secret=bytes(32)),
        replace(held, version=2),
    ]
    for each in bad:
        with pytest.raises(PacketError):
            decode(encode(each))
    for noise in (b"", b"\x93", encode(held)[:-1], bytes(100_000)):
        with pytest.raises(PacketError):
            decode(noise)


async def test_packets_travel_sealed_and_are_receipted(it: World, tmp_path: Path) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "bob", "swap_sent"))
    desk = it.traders["bob"].venue().desk
    record = await it.call(packet_of(desk, it.swap("bob")))
    assert isinstance(record, PacketRecord)
    post = Post(it, tmp_path)
    async with post.up() as watcher:
        tower = httpx.ASGITransport(Reception(watcher, KEY).app())
        with full_disk(0), pytest.raises(DeliveryError) as unkept:
            await courier(it, desk.store, KEY, tower).deliver(record)
        assert (unkept.value.code, record.delivered, post.did("watching")) == ("tower.disk", False, [])
        await courier(it, desk.store, KEY, tower).deliver(record)
        assert record.delivered
        assert len(post.did("watching")) == 1

        record.delivered = False
        await courier(it, desk.store, KEY, tower).deliver(record)  # again changes nothing
        assert len(post.did("watching")) == 1 and not post.did("replaced")

        record.delivered = False
        with pytest.raises(DeliveryError) as refused:
            await courier(it, desk.store, bytes(32), tower).deliver(record)
        assert refused.value.code == "tower.key"
        assert not record.delivered

        async def liar(_request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, text="00" * 32)

        with pytest.raises(DeliveryError):
            await courier(it, desk.store, KEY, httpx.MockTransport(liar)).deliver(record)
        assert not record.delivered
    assert FUNDS


def courier(it: World, store: object, key: bytes, transport: httpx.AsyncBaseTransport) -> Courier:
    return Courier("http://tower", key, store, it.clock, SeededEntropy(3), transport=transport)  # type: ignore[arg-type]
