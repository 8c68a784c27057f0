"""Two simulated chains, an exchange server in memory, and traders on it, all on one virtual clock.

`crash` ends a trader as kill -9 does as far as its store is concerned; `start` with the same name resumes it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from tests.client.fake_server import BTC, LTC, MARKET, FakeServer

from twinlock.chain.address import address_to_script
from twinlock.chain.coins import Coin, Network, coin
from twinlock.chain.tx import Tx
from twinlock.client.config import ClientConfig, LockConfig, ServerConfig, WalletConfig
from twinlock.client.errors import LinkClosedError, StoreError
from twinlock.client.events import Event
from twinlock.client.link import Dialer, Link
from twinlock.client.seed import fresh, keep
from twinlock.client.store import MemoryStore, Record, Store
from twinlock.client.store.records import SwapRecord
from twinlock.client.trader import Trader
from twinlock.electrum.errors import ConnectionLostError, RejectedError
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.transport import Endpoint, Transport
from twinlock.electrum.view import ChainView
from twinlock.protocol.orders import Side
from twinlock.seams import SeededEntropy, VirtualClock

HOST = "exchange.test:7232"
FUNDS = 100_000_000
PIECES = 4
LOCKS = LockConfig(maker=1200, taker=480)
"""Short, so that not every story waits for a virtual day."""
RATE = 250_000
TURNS = 16
"""Turns of the loop after which time goes on all the same, as for every virtual clock: long work takes its time."""
SYMBOLS = {LTC: "ltc", BTC: "btc"}


class BurntError(StoreError):
    """The power is gone; nothing is written or sent any more."""


class Fuse:
    """Once it burns, the trader has no effect on the world any more."""

    def __init__(self) -> None:
        self.burnt = False
        self.goes: Callable[[bool], bool] = _stays
        """Asked before (True) and after (False) each write and broadcast whether the power goes now."""
        self.effects = 0
        """Writes, broadcasts and messages to the server so far."""
        self.sent: list[tuple[int, bytes]] = []
        """Asset and raw transaction of every broadcast that reached the network."""
        self.pauses: list[float] = []
        """Seconds that each of the next broadcasts is on its way to the network."""

    def renew(self) -> None:
        """The power is back, and stays."""
        self.burnt, self.goes = False, _stays

    def hold(self) -> None:
        """Raises BurntError once it has burnt."""
        if self.burnt:
            raise BurntError("burnt")

    def moment(self, *, before: bool) -> None:
        """A write or broadcast is about to happen, or has just happened. Raises BurntError."""
        self.hold()
        self.effects += not before
        self.burnt = self.goes(before)
        self.hold()


def _stays(_before: bool) -> bool:
    return False


class FusedStore(MemoryStore):
    """A store on a fuse: each outermost commit that writes something is one write."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse
        self._depth = 0
        self._writes = False

    def copied(self) -> FusedStore:
        """What is in it now, as a store of its own on the same fuse."""
        copy = FusedStore(self._fuse)
        copy._bodies.update(self._bodies)
        return copy

    def put(self, record: Record) -> None:
        with self.transaction():
            self._writes = True
            super().put(record)

    def delete(self, record_type: type[Record], key: str) -> None:
        with self.transaction():
            self._writes = True
            super().delete(record_type, key)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._depth += 1
        try:
            if self._depth > 1:
                yield
            else:
                yield from self._outermost()
        finally:
            self._depth -= 1

    def _outermost(self) -> Iterator[None]:
        self._writes = False
        with super().transaction():
            self._fuse.hold()
            yield
            if self._writes:
                self._fuse.moment(before=True)
        if self._writes:
            self._fuse.moment(before=False)


class FusedView(ChainView):
    """A chain view on a fuse: each broadcast of something new is one.

    Its node wants `floor` atoms per vbyte.
    """

    fuse: Fuse
    floor: Callable[[bytes], bool]

    async def broadcast(self, raw: bytes) -> str:
        if not self.floor(raw):
            raise RejectedError("blockchain.transaction.broadcast", 1, "mempool min fee not met")
        if self.fuse.pauses:
            await self._clock.sleep(self.fuse.pauses.pop(0))
        self.fuse.hold()
        sending = (self.coin.asset_id, raw)
        if sending in self.fuse.sent:
            return await super().broadcast(raw)
        self.fuse.moment(before=True)
        txid = await super().broadcast(raw)
        self.fuse.sent.append(sending)
        self.fuse.moment(before=False)
        return txid


class FusedLink:
    """A link on a fuse: once it is burnt, nothing gets out."""

    def __init__(self, link: Link, fuse: Fuse) -> None:
        self._link = link
        self._fuse = fuse

    async def send(self, frame: bytes) -> None:
        if self._fuse.burnt:
            raise LinkClosedError("burnt")
        self._fuse.effects += 1
        await self._link.send(frame)

    async def receive(self) -> bytes:
        return await self._link.receive()

    async def close(self) -> None:
        await self._link.close()


class WorldClock(VirtualClock):
    """A virtual clock that goes on once no task has anything left to do: nothing comes from outside this loop."""

    async def _settle(self) -> None:
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # nothing public tells it
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if not ready:
                return


class World:
    """Everything, and the verbs of the stories."""

    def __init__(self) -> None:
        self.chains = {asset: SimulatedChain(coin(symbol, "regtest")) for asset, symbol in SYMBOLS.items()}
        for chain in self.chains.values():
            chain.mine(130)
        self.clock = WorldClock(self.chains[BTC].headers[-1].time * 1000)
        self.electrum = {asset: SimulatedServer(chain) for asset, chain in self.chains.items()}
        self.min_rate = dict.fromkeys(SYMBOLS, 1)
        """Atoms per vbyte below which a chain's mempool takes nothing, by asset."""
        self.cut: set[int] = set()
        """Assets whose Electrum servers cannot be reached."""
        self.server = FakeServer(self.clock, self.chains)
        self.stores: dict[str, Store] = {}
        self.fuses: dict[str, Fuse] = {}
        self.traders: dict[str, Trader] = {}
        self.events: dict[str, list[Event]] = {}
        self._listeners: dict[str, asyncio.Task[None]] = {}

    # Traders -----------------------------------------------------------------------------------------------

    async def start(self, name: str) -> Trader:
        """Start or resume a trader; its seed follows from its name."""
        store = self.stores.get(name)
        if store is None:
            fuse = self.fuses[name] = Fuse()
            store = self.stores[name] = FusedStore(fuse)
            keep(store, fresh(SeededEntropy(sum(name.encode()))))
        trader = Trader(
            self.config(),
            clock=self.clock,
            entropy=SeededEntropy(1),
            store=store,
            open_chain=partial(self._view, self.fuses[name]),
            dialer=partial(self._dialer, self.fuses[name]),
        )
        entering = asyncio.create_task(trader.__aenter__())
        await self.until(entering.done)
        await entering
        self.traders[name] = trader
        self._listeners[name] = asyncio.create_task(self._listen(name, trader.events()))
        return trader

    async def stop(self, name: str) -> None:
        trader = self.traders.pop(name)
        leaving = asyncio.create_task(trader.__aexit__(None, None, None))
        await self.until(leaving.done)
        await leaving
        self._listeners.pop(name).cancel()

    async def restart(self, name: str) -> Trader:
        """End what is left of the trader and start it from what was stored; its power stays from now on."""
        await self.stop(name)
        self.fuses[name].renew()
        return await self.start(name)

    crash = stop  # The store is written through, so a stop that saves nothing is a crash.

    async def funded(self, *names: str) -> list[Trader]:
        """Traders with confirmed coins on both chains and an account with a posted bond."""
        traders = [await self.start(name) for name in names]
        for trader in traders:
            await self.until(trader.venue().desk.session.ready.is_set)
            for asset, symbol in SYMBOLS.items():
                for _ in range(PIECES):
                    address = await trader.wallet(symbol).new_address()
                    self.chains[asset].pay(address_to_script(coin(symbol, "regtest"), address), FUNDS // PIECES)
        await self.mine()
        for trader in traders:
            await self.until(partial(_holds_funds, trader))
            await self.call(trader.register("btc"))
        await self.until(lambda: len(self.chains[BTC].mempool) == len(traders))
        await self.mine()
        await self.until(lambda: all(trader.venue().bonds.tier == 1 for trader in traders))
        for trader in traders:
            account = trader.venue().desk.account
            assert account is not None
            account.target_tier = 0  # No renewal of bonds in the middle of a story.
        return traders

    async def matched(self, maker_sells: bool = True, quantity: int = 10_000_000) -> tuple[SwapRecord, SwapRecord]:
        """Alice's order is booked and Bob takes it: (maker's record, taker's record)."""
        alice, bob = self.traders["alice"], self.traders["bob"]
        side = Side.SELL if maker_sells else Side.BUY
        await self.call(alice.limit(MARKET, side, quantity, RATE))
        await self.close_epoch()
        await self.call(bob.limit(MARKET, side.opposite, quantity, RATE))
        await self.close_epoch()
        return alice.swaps()[-1], bob.swaps()[-1]

    def swap(self, name: str) -> SwapRecord:
        return self.traders[name].swaps()[-1]

    # Time and chains ---------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Let time pass until the condition holds. Raises TimeoutError after so many virtual seconds."""
        waited = 0.0
        while not condition():
            if waited >= seconds:
                raise TimeoutError(f"nothing of the kind within {seconds:g} s")
            await self.clock.advance(0.25)
            waited += 0.25

    async def call(self, work: object) -> object:
        """Await something while time passes."""
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        await self.until(task.done)
        return await task

    async def mine(self, blocks: int = 1, *, seconds: int = 1) -> None:
        for chain in self.chains.values():
            chain.mine(blocks, seconds=seconds)
        await self.clock.advance(1)

    async def pass_locks(self, until_s: int) -> None:
        """Mine until the median time of both chains is later than that."""
        for chain in self.chains.values():
            gap = max(0, until_s - chain.headers[-1].time)
            chain.mine(1, seconds=gap + 1)
            chain.mine(11, seconds=1)
        await self.clock.advance(max(0, until_s + 1 - self.clock.now_ms() // 1000))

    async def close_epoch(self) -> None:
        await self.call(self.server.close_epoch())
        await self.clock.advance(0.5)

    async def settle(self, condition: Callable[[], bool], rounds: int = 30) -> None:
        """Mine block after block until the condition holds."""
        for _ in range(rounds):
            if condition():
                return
            await self.clock.advance(5)
            await self.mine()
        assert condition(), "the story did not end"

    def total(self, name: str) -> dict[str, int]:
        """All that a trader's wallets own, by symbol, in atoms."""
        return {symbol: self.traders[name].wallet(symbol).balance().total for symbol in SYMBOLS.values()}

    # Inside ------------------------------------------------------------------------------------------------

    def config(self) -> ClientConfig:
        return ClientConfig(
            data_dir="unused",
            network=Network.REGTEST,
            wallets=tuple(WalletConfig(symbol=symbol, electrum=("tcp://simulated:1",)) for symbol in SYMBOLS.values()),
            servers=(ServerConfig(host=HOST, follow=(MARKET,)),),
            locks=LOCKS,
        )

    def _view(self, fuse: Fuse, parameters: Coin, _wallet: WalletConfig) -> ChainView:
        dial = partial(self._electrum_dial, parameters.asset_id)
        view = FusedView(parameters, ["tcp://simulated:1"], clock=self.clock, entropy=SeededEntropy(2), dial=dial)
        view.fuse, view.floor = fuse, partial(self._pays_enough, parameters.asset_id)
        return view

    def _pays_enough(self, asset: int, raw: bytes) -> bool:
        tx, chain = Tx.parse(raw), self.chains[asset]
        value = sum(chain.tx(txin.point.txid).outputs[txin.prev_index].value for txin in tx.inputs)
        return value - tx.total_out >= self.min_rate[asset] * tx.vsize

    async def _electrum_dial(self, asset: int, endpoint: Endpoint) -> Transport:
        if asset in self.cut:
            raise ConnectionLostError("the line is cut")
        return await self.electrum[asset].dial(endpoint)

    def _dialer(self, fuse: Fuse, _server: ServerConfig) -> Dialer:
        async def dial() -> Link:
            return FusedLink(await self.server.dial(), fuse)

        return dial

    async def _listen(self, name: str, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self.events.setdefault(name, []).append(event)


def _holds_funds(trader: Trader) -> bool:
    return all(trader.wallet(symbol).balance().available == FUNDS for symbol in SYMBOLS.values())


@asynccontextmanager
async def world(it: World | None = None) -> AsyncIterator[World]:
    """A world that leaves nothing behind."""
    it = it or World()
    try:
        yield it
    finally:
        for name in list(it.traders):
            await it.stop(name)
        await it.server.hang_up()
        for server in it.electrum.values():
            await server.hang_up()
        gc.collect()
