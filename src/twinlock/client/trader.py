"""A trader: one seed, wallets for its coins, and a venue for each exchange server, from entry to exit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from twinlock.chain.coins import Coin, coin
from twinlock.client import seed
from twinlock.client.conditional import ConditionRecord
from twinlock.client.config import ClientConfig, ServerConfig, WalletConfig
from twinlock.client.desk import CoinSide, Desk
from twinlock.client.drafts import LimitAsk
from twinlock.client.errors import ClientError, ConfigError, StoreError
from twinlock.client.events import Event, EventStream, Notice, WalletChanged
from twinlock.client.keyring import Keyring
from twinlock.client.keys import TraderKeys
from twinlock.client.leftovers import Leftovers
from twinlock.client.link import Dialer, websocket_dialer
from twinlock.client.pins import StoredPins
from twinlock.client.recovery.mirror import MirroredStore
from twinlock.client.session import Session
from twinlock.client.store import SqliteStore, Store
from twinlock.client.store.base import LIVE
from twinlock.client.store.living import RECENT, Look, merged
from twinlock.client.store.records import BondRecord, OrderRecord, SwapRecord
from twinlock.client.store.vault import Cost
from twinlock.client.sweep import drop_unstored_contracts, orphans, sweep
from twinlock.client.tower.courier import Courier, drop_packets
from twinlock.client.tower.sealing import read_key
from twinlock.client.venue import Venue
from twinlock.client.wallet import LightWallet
from twinlock.client.wallet.kinds import Ground, open_wallet
from twinlock.electrum.errors import CertificateChangedError, ElectrumError
from twinlock.electrum.transport import Dialer as ElectrumDialer
from twinlock.electrum.transport import Endpoint
from twinlock.electrum.view import ChainView
from twinlock.errors import TwinlockError
from twinlock.protocol.messages.orders import PLAIN, OrderOptions
from twinlock.protocol.orders import Side, TimeInForce
from twinlock.seams import Clock, Entropy, SystemClock, SystemEntropy

Work = Callable[[], Awaitable[None]]

ChainOpener = Callable[[Coin, WalletConfig], AbstractAsyncContextManager[ChainView]]


def initialize(
    config: ClientConfig,
    password: str,
    *,
    entropy: Entropy,
    phrase: seed.Phrase | None = None,
    cost: Cost | None = None,
) -> seed.Phrase:
    """Make the store and keep the seed in it; returns it: 12 new words, or what was given.

    Raises ClientError when a seed is there already.
    """
    store = SqliteStore(config.folder, password, entropy, cost=cost)
    try:
        if seed.stored(store) is not None:
            raise ClientError(
                f"{config.folder} holds a seed already", code="client.exists", fix="choose another data_dir"
            )
        phrase = phrase or seed.fresh(entropy)
        seed.keep(store, phrase)
    finally:
        store.close()
    return phrase


class Trader:
    """Use as a context. At entry the wallets are ready and the servers are being connected.

    store, open_chain, dialer: the seams to disk and network; the real ones without them.
    """

    def __init__(
        self,
        config: ClientConfig,
        password: str = "",
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        store: Store | None = None,
        open_chain: ChainOpener | None = None,
        dialer: Callable[[ServerConfig], Dialer] = websocket_dialer,
    ) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        self._entropy: Entropy = entropy or SystemEntropy()
        self._store: Store = store or SqliteStore(config.folder, password, self._entropy)
        self._mirrored = store is None or bool(config.recovery_file)
        self._open_chain = open_chain or self._electrum
        self._dialer = dialer
        self._stream = EventStream()
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._wallets: dict[str, LightWallet] = {}
        self.coins: dict[str, CoinSide] = {}
        """Wallet and chain of each coin, by symbol."""
        self.venues: dict[str, Venue] = {}
        """By host."""

    async def __aenter__(self) -> Trader:
        self._stack.callback(self._store.close)
        try:
            master = seed.required(self._store).master()
            keys = TraderKeys(master)
            if self._mirrored:
                self._store = self._mirror(keys.recovery_key())
            await asyncio.gather(*(self._open_coin(wallet, master) for wallet in self.config.wallets))
            for server in self.config.servers:
                self.venues[server.host] = self._venue(server, keys)
        except BaseException:
            await self._stack.aclose()
            raise
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    # What happens ------------------------------------------------------------------------------------------

    def events(self) -> AsyncIterator[Event]:
        """Everything that happens from now on."""
        return self._stream.subscribe()

    def tell(self, event: Event) -> None:
        """Let every subscriber hear of something."""
        self._stream.emit(event)

    @property
    def keyring(self) -> Keyring:
        """The keys of programs that use the control interface."""
        return Keyring(self._store, self.clock, self._entropy)

    @property
    def store(self) -> Store:
        """Where everything is kept."""
        return self._store

    def safe_until(self) -> int | None:
        """The second until which the client may stay closed without endangering a coin; None: as long as you like."""
        times = (venue.swapper.safe_until() for venue in self.venues.values())
        return min((time for time in times if time is not None), default=None)

    # What a trader does ------------------------------------------------------------------------------------

    def venue(self, host: str = "") -> Venue:
        """The server of that host; the first one without a host. Raises ConfigError."""
        if not host and self.venues:
            return next(iter(self.venues.values()))
        if host not in self.venues:
            raise ConfigError(f"no server {host!r} in the configuration", fix="add it to [[servers]]")
        return self.venues[host]

    def at(self, host: str) -> list[Venue]:
        """The server that is named, or all. Raises ConfigError."""
        return [self.venue(host)] if host else list(self.venues.values())

    def wallet(self, symbol: str) -> LightWallet:
        """With all that its owner can do beside trading. Raises ConfigError."""
        if symbol not in self._wallets:
            raise ConfigError(f"there is no wallet for {symbol}", fix="add it to [[wallets]]")
        return self._wallets[symbol]

    async def connected(self, host: str = "") -> None:
        """Return when the server is connected (and, if there is an account, logged in)."""
        await self.venue(host).desk.session.ready.wait()

    async def register(self, symbol: str, tier: int = 1, host: str = "") -> BondRecord:
        """See `Bonds.register`; the account exists once the bond is posted."""
        return await self.venue(host).bonds.register(symbol, tier)

    async def limit(
        self,
        market: str,
        side: Side,
        quantity: int,
        rate: int,
        force: TimeInForce = TimeInForce.STANDING,
        host: str = "",
        *,
        tag: str = "",
        options: OrderOptions = PLAIN,
        split: bool = False,
    ) -> OrderRecord:
        """See `Orders.limit`. The same tag again returns the first order."""
        venue = self.venue(host)
        return await venue.limit(market, side, quantity, rate, force, tag=tag, options=options, split=split)

    async def limits(self, asks: Sequence[LimitAsk], host: str = "") -> list[OrderRecord | TwinlockError]:
        """Several limit orders at once; see `Orders.limits`."""
        return await self.venue(host).limits(asks)

    async def market(
        self,
        market: str,
        side: Side,
        quantity: int,
        host: str = "",
        *,
        tag: str = "",
        options: OrderOptions = PLAIN,
    ) -> OrderRecord:
        """See `Orders.market`."""
        return await self.venue(host).market(market, side, quantity, tag=tag, options=options)

    async def stop_limit(
        self,
        name: str,
        market: str,
        side: Side,
        quantity: int,
        stop: int,
        rate: int,
        host: str = "",
        *,
        rest_rate: int = 0,
        options: OrderOptions = PLAIN,
    ) -> ConditionRecord:
        """See `Venue.stop_limit`: with `rest_rate` one-cancels-other."""
        venue = self.venue(host)
        return await venue.stop_limit(name, market, side, quantity, stop, rate, rest_rate=rest_rate, options=options)

    async def cancel(self, order_id: bytes, host: str = "") -> OrderRecord:
        """See `Orders.cancel`."""
        return await self.venue(host).orders.cancel(order_id)

    async def send(self, symbol: str, address: str, amount: int, fee_rate: int = 0) -> str:
        """Pay from a wallet; returns the transaction ID. fee_rate: atoms per vbyte, 0 takes the chain's."""
        side = self.coins.get(symbol)
        if side is None:
            raise ConfigError(f"there is no wallet for {symbol}", fix="add it to [[wallets]]")
        signed = await side.wallet.send(address, amount, fee_rate or await side.chain.fee_rate())
        return await side.wallet.broadcast(signed.raw)

    def orders(self, look: Look = RECENT, host: str = "") -> list[OrderRecord]:
        """Orders at that server, or at every one, oldest first: all that are open, and the newest of the others."""
        return merged((venue.orders.records.look(look) for venue in self.at(host)), look)

    def swaps(self, look: Look = RECENT, host: str = "") -> list[SwapRecord]:
        """The same of the swaps."""
        return merged((venue.swapper.matches.records.look(look) for venue in self.at(host)), look)

    def conditions(self, look: Look = RECENT, host: str = "") -> list[ConditionRecord]:
        """The same of the conditions."""
        return merged((venue.conditions.records.look(look) for venue in self.at(host)), look)

    def running(self) -> list[tuple[Desk, SwapRecord]]:
        """Every swap that is not over, with the desk that it belongs to."""
        return [(venue.desk, swap) for venue in self.venues.values() for swap in venue.swapper.matches.running()]

    def bonds(self) -> list[BondRecord]:
        """Every bond at every server, oldest first: all are locked for the same time."""
        found = (bond for venue in self.venues.values() for bond in venue.bonds.all())
        return sorted(found, key=lambda bond: bond.lock_time)

    # Inside ------------------------------------------------------------------------------------------------

    def _mirror(self, key: bytes) -> MirroredStore:
        return MirroredStore(
            self._store,
            self.config.recovery_path,
            key,
            self.config.network,
            self._entropy,
            lambda text: self.tell(Notice(at=self.clock.now_ms(), level="warning", text=text)),
        )

    async def _open_coin(self, wallet: WalletConfig, master: bytes) -> None:
        parameters = coin(wallet.symbol, self.config.network)
        view = await self._stack.enter_async_context(self._open_chain(parameters, wallet))
        opened = open_wallet(Ground(parameters, view, master, self._store, self.clock), wallet)
        self._wallets[wallet.symbol] = await self._stack.enter_async_context(opened)
        self.coins[wallet.symbol] = CoinSide(parameters, opened, view)

    def _electrum(self, parameters: Coin, wallet: WalletConfig) -> ChainView:
        dial = ElectrumDialer(pins=StoredPins(self._store), proxy=wallet.proxy or None)

        def lied(server: Endpoint, error: ElectrumError) -> None:
            text = f"{parameters.name}: the Electrum server {server} is left alone: {error} [{error.code}]. {error.fix}"
            if isinstance(error, CertificateChangedError):
                text += f" (twinlock client pin forget {server.host}:{server.port})"
            self.tell(Notice(at=self.clock.now_ms(), level="warning", text=text))

        return ChainView(
            parameters,
            wallet.electrum,
            clock=self.clock,
            entropy=self._entropy,
            dial=dial,
            opinions=self.config.pace.second_opinion,
            on_lie=lied,
        )

    def _venue(self, server: ServerConfig, keys: TraderKeys) -> Venue:
        session = Session(self._dialer(server), self.clock, self.config.pace)
        desk = Desk(
            server=server,
            network=self.config.network,
            session=session,
            store=self._store,
            coins={side.coin.asset_id: side for side in self.coins.values()},
            keys=keys,
            clock=self.clock,
            locks=self.config.locks,
            pace=self.config.pace,
            tell=self.tell,
        )
        return Venue(desk)

    def _start(self) -> None:
        for side in self.coins.values():
            drop_unstored_contracts(side, self._store)
            if left := orphans(side, self._store.all(BondRecord)):
                self._spawn(partial(sweep, side.wallet, left))
        with suppress(StoreError):  # a disk that is full keeps nobody's swaps from being settled
            drop_packets(self._store, self._store.marked(SwapRecord, LIVE))
        for venue in self.venues.values():
            self._spawn(venue.run)
        for side in self.coins.values():
            self._spawn(partial(self._follow_tip, side))
            self._spawn(partial(self._follow_wallet, side))
        if cold := [self.coins[wallet.symbol] for wallet in self.config.wallets if wallet.kind == "cold"]:
            self._spawn(partial(Leftovers(cold, self.clock, self.tell).run, self.events()))
        if (tower := self.config.tower).url:
            key = read_key(Path(tower.key_file).expanduser())
            courier = Courier(tower.url, key, self._store, self.clock, self._entropy)
            self._spawn(partial(courier.run, self.running, self.events()))

    def _spawn(self, work: Work) -> None:
        self._tasks.append(asyncio.create_task(self._guard(work)))

    async def _guard(self, work: Work) -> None:
        """A part that ends by a defect is told at once; the others, which may hold coins, go on."""
        try:
            await work()
        except Exception as defect:
            self.tell(Notice(at=self.clock.now_ms(), level="error", text=f"a part of the client ended: {defect!r}"))
            raise

    async def _follow_tip(self, side: CoinSide) -> None:
        while True:
            try:
                async for _ in side.chain.subscribe_tip():
                    for venue in self.venues.values():
                        venue.wake()
            except TwinlockError as error:
                self.tell(Notice(at=self.clock.now_ms(), level="warning", text=f"{side.coin.name}: {error}"))
            await self.clock.sleep(self.config.pace.swap_check)

    async def _follow_wallet(self, side: CoinSide) -> None:
        async for balance in side.wallet.changes():
            self.tell(
                WalletChanged(
                    at=self.clock.now_ms(),
                    asset=side.coin.symbol,
                    available=balance.available,
                    locked=balance.locked,
                    unconfirmed=balance.unconfirmed,
                )
            )
