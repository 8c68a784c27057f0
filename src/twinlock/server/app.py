"""The exchange server: builds every component, runs it, and stops it in order.

`async with Server(config) as server: await server.wait()` is a whole exchange. What a test or a simulation brings
along instead of the real thing (time, randomness, views of chains) are arguments.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from itertools import chain
from pathlib import Path
from types import TracebackType

import structlog

from twinlock.chain.coins import Coin, coin
from twinlock.chain.families import family_of
from twinlock.electrum.view import ChainView
from twinlock.gate.door import Door
from twinlock.gate.waiting_room import WaitingRoom
from twinlock.protocol.bonds import bond_expiry
from twinlock.seams import Clock, Entropy, SystemClock, SystemEntropy
from twinlock.server.admin.api import AdminApi, Page
from twinlock.server.admin.operator import Operator
from twinlock.server.assets import AssetBackend, AssetTerms
from twinlock.server.assets.chain_backend import ChainBackend, ChainSource
from twinlock.server.comms.hub import Hub
from twinlock.server.comms.listener import Address, Conversation, listen, open_door
from twinlock.server.comms.tls import ensure_certificate, server_context
from twinlock.server.config import AssetSection, Config, MarketSection
from twinlock.server.data import DataDesk
from twinlock.server.db import Database
from twinlock.server.db.fee_scales import load_fee_scale
from twinlock.server.db.migrate import migrate
from twinlock.server.errors import ConfigError, ListenError
from twinlock.server.http.api import HttpApi
from twinlock.server.http.feed import MarketFeed
from twinlock.server.http.market_data import MarketData
from twinlock.server.keyfile import KEY_FILE, ensure_signing_key
from twinlock.server.manager import DexManager, Foundations
from twinlock.server.market.terms import MarketTerms
from twinlock.server.metrics import Metrics
from twinlock.server.process import descriptors
from twinlock.server.signatures import SignatureDesk
from twinlock.server.wallet import DexWallet

log = structlog.get_logger(__name__)

OpenChain = Callable[[Coin, AssetSection], AbstractAsyncContextManager[ChainSource]]
"""Opens the view of an asset's chain."""

TLS_FOLDER = "tls"
_SHARE = 8
"""Of the files that the system allows, the part that those take at most who are no clients, at each listener."""
_INDEXER_PAUSE_S = 3.0
"""A market stands still without its indexer: the exchange is one client, and asks again sooner than a wallet may."""


class Server:
    """One exchange. `port` and `certificate` tell clients where to connect and what to pin."""

    def __init__(
        self,
        config: Config,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        open_chain: OpenChain | None = None,
        sockets: Mapping[str, Sequence[socket.socket]] | None = None,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        """sockets: listening already, by setting. pages: what the operator's listener shows besides its API."""
        self.config = config
        self._clock = clock or SystemClock()
        self._entropy = entropy or SystemEntropy()
        self._open_chain = open_chain or self._open_view
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._sockets = dict(sockets or {})
        self._pages = dict(pages or {})
        self._listeners: defaultdict[str, list[Door]] = defaultdict(list)
        self.hub = Hub(self._clock, config.server.max_clients, config.server.max_connections_per_address)
        self.hub.data_api = config.server.data_api

    async def __aenter__(self) -> Server:
        async with self._stack:
            await self._start()
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def ports(self) -> dict[str, int]:
        """The TCP port of every listener, by setting; the one given, or the one the system chose for 0."""
        return {name: found[0].sockets[0].getsockname()[1] for name, found in self._listeners.items()}

    @property
    def port(self) -> int:
        """The TCP port that clients use."""
        return self.ports["listen"]

    @property
    def admin_port(self) -> int:
        """The TCP port of the operator's API."""
        return self.ports["admin_listen"]

    def keep_sockets(self) -> list[tuple[str, int]]:
        """(setting, descriptor) of the listening sockets that outlive this server; the caller owns them.

        A setting has several where its address is a name with several addresses, or stands for all of them.
        """
        return [
            (name, os.dup(each.fileno()))
            for name, found in self._listeners.items()
            for door in found
            for each in door.sockets
        ]

    @property
    def certificate(self) -> Path:
        """The PEM file that clients pin."""
        return self.config.server.data_dir / TLS_FOLDER / "server.cert"

    async def crash(self) -> None:
        """End as a power cut does, for tests and simulations: nobody is told and nothing more is written."""
        for task in self._tasks:
            task.cancel()
        self.hub.abort()
        self.database.abort()
        await self._stack.aclose()

    async def wait(self) -> None:
        """Return when a task that must run for ever has failed, with its error."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _start(self) -> None:
        settings = self.config.server
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.key = ensure_signing_key(settings.data_dir / KEY_FILE, settings.key_password(), self._entropy)
        await migrate(settings.database_url)
        self.database = await self._stack.enter_async_context(Database(settings.database_url))
        self.signatures = SignatureDesk(self.key)
        self._stack.callback(self.signatures.close)
        self.assets = await self._open_assets()
        self.wallets = {
            asset.symbol: DexWallet(coin(asset.symbol, settings.network), asset.bond_xpub)
            for asset in self.config.assets
            if asset.bond_xpub
        }
        expiry_s = bond_expiry(settings.network)
        self.manager = await DexManager.open(
            Foundations(
                settings=settings,
                hub=self.hub,
                database=self.database,
                clock=self._clock,
                key=self.key,
                assets=self.assets,
                terms=[self._market_terms(section) for section in self.config.markets],
                expiry_s=expiry_s,
                signatures=self.signatures,
            )
        )
        self.data = DataDesk(
            self.hub,
            {(market.terms.base, market.terms.quote): market for market in self.manager.markets.values()},
            self.assets,
            self.manager.historian,
            self.manager.snapshots,
            settings,
            expiry_s,
            self.key,
        )
        self.metrics = Metrics(self.hub, self.manager, self.assets)
        self._stack.push_async_callback(self._stop)
        self._run_tasks()
        await self._listen()
        log.info("exchange open", listen=f"{settings.address[0]}:{self.port}", network=settings.network)

    def _run_tasks(self) -> None:
        forever = [self.hub.run(), *(asset.run() for asset in self.assets.values()), *self.manager.tasks()]
        self._tasks = [asyncio.create_task(coroutine) for coroutine in forever]

    async def _listen(self) -> None:
        settings = self.config.server
        context: ssl.SSLContext | None = None
        if settings.tls:
            folder = settings.data_dir / TLS_FOLDER
            folder.mkdir(exist_ok=True)
            context = server_context(ensure_certificate(folder, settings.names, self._clock.now_ms()))
        market_data = MarketData(self.data, self.database, self._clock)
        api = HttpApi(self.hub, self.data, market_data, self.metrics.registry)
        feed = MarketFeed(self.hub, market_data, self._clock)
        for name, security in (("listen", context), ("onion_listen", None)):
            room = self._waiting_room()
            for where in self._places(name):
                with _listening(name, self.config):
                    door = await listen(self.hub, self._clock, api.factory(), where, security, room, feed)
                self._listeners[name].append(door)
        await self._listen_for_operator(context)

    def _places(self, setting: str) -> Sequence[Address | socket.socket]:
        """The sockets that were passed on, else the address of a setting; nothing where it is not set."""
        address = self.config.server.addresses().get(setting)
        return () if address is None else self._sockets.get(setting) or (Address(*address),)

    async def _listen_for_operator(self, context: ssl.SSLContext | None) -> None:
        settings, places = self.config.server, self._places("admin_listen")
        if not places or settings.admin_password_file is None:
            return
        password = settings.admin_password_file.read_text().rstrip("\n")
        operator = Operator(self.manager, self.data, self.hub, self.database, self.wallets, self._clock, self._entropy)
        http, room = AdminApi(operator, password, self._pages).factory(), self._waiting_room()
        for where in places:
            with _listening("admin_listen", self.config):
                door = await open_door(where, context, room, lambda: Conversation(http(), room))
            self._listeners["admin_listen"].append(door)

    def _waiting_room(self) -> WaitingRoom:
        """One for each listener: whoever fills that of the onion service keeps nobody out of the other, nor back."""
        return WaitingRoom(min(self.config.server.max_http_connections, max(1, descriptors() // _SHARE)))

    async def _stop(self) -> None:
        """No new connections, then no tasks, then goodbye to every client; the database closes last."""
        for door in chain.from_iterable(self._listeners.values()):
            door.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.hub.close()
        log.info("exchange closed")

    async def _open_assets(self) -> dict[int, AssetBackend]:
        backends: dict[int, AssetBackend] = {}
        for section in self.config.assets:
            row = coin(section.symbol, self.config.server.network)
            source = await self._stack.enter_async_context(self._open_chain(row, section))
            terms = AssetTerms(
                max_fee_rate=section.max_fee_rate,
                swap_conf=section.swap_conf,
                bond_amount=section.bond_amount,
                bond_confs=section.bond_confs,
                fee_scale=section.fee_scale,
            )
            scale = await load_fee_scale(self.database, section.symbol, section.fee_scale)
            backends[row.asset_id] = ChainBackend(row, source, terms, self._clock, scale, self.signatures.holds)
        return backends

    def _open_view(self, row: Coin, section: AssetSection) -> AbstractAsyncContextManager[ChainSource]:
        servers, pause = section.electrum, _INDEXER_PAUSE_S
        return ChainView(row, servers, clock=self._clock, entropy=self._entropy, longest_pause=pause)

    def _market_terms(self, section: MarketSection) -> MarketTerms:
        settings = self.config.server
        base, quote = coin(section.base, settings.network), coin(section.quote, settings.network)
        base_section, quote_section = self.config.asset(section.base), self.config.asset(section.quote)
        least = family_of(base).min_lot(base_section.max_fee_rate)
        if section.lot_size < least:
            raise ConfigError(
                f"lot_size of {section.name} is below {least}, the smallest swap worth its fees",
                fix=f"use {least} or more, or lower max_fee_rate of {section.base}",
                numbers={"lot_size": section.lot_size, "least": least},
            )
        return MarketTerms(
            name=section.name,
            base=base.asset_id,
            quote=quote.asset_id,
            lot_size=section.lot_size,
            rate_step=section.rate_step,
            epoch_ms=section.epoch_ms,
            buy_buffer=section.market_buy_buffer,
            parcel_size=section.parcel_size,
            min_quote_lot=family_of(quote).min_lot(quote_section.max_fee_rate),
            max_epoch_cancels=settings.max_epoch_cancels,
        )


@contextmanager
def _listening(setting: str, config: Config) -> Iterator[None]:
    """Raises ListenError where the address of a setting cannot be had."""
    try:
        yield
    except OSError as error:
        host, port = config.server.addresses()[setting]
        raise ListenError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            fix=f"stop what listens there, or change server.{setting}",
        ) from error
