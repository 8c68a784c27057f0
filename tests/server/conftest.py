"""A live exchange on two chains in memory, over real TLS WebSockets, on each database engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from tests.server.memory_chain import MemoryChain
from tests.server.trader import PATIENCE_S, Trader

from twinlock.chain.coins import Coin, Network, coin
from twinlock.seams import Clock, SystemClock, SystemEntropy
from twinlock.server.app import Server
from twinlock.server.config import AssetSection, Config, MarketSection, ServerSection
from twinlock.server.db.migrate import migrate
from twinlock.server.keyfile import KEY_FILE, ensure_signing_key
from twinlock.simnet.postgres import Postgres
from twinlock.simnet.processes import Processes
from twinlock.simnet.services import PLAY

BTC, LTC = 0, 2
MARKET = (LTC, BTC)
LOT = 1_000_000
BOND = 500_000
RATE = 10_000_000
EPOCH_MS = 400
DATABASE = "server.db"


@cache
def empty_file() -> bytes:
    """SQLite's file after all migrations: the same for every exchange that starts on none."""
    with TemporaryDirectory() as folder:
        file = Path(folder, DATABASE)
        asyncio.run(migrate(f"sqlite+aiosqlite:///{file}"))
        return file.read_bytes()


async def until(condition: Callable[[], bool]) -> None:
    """Poll a condition that no message announces."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Exchange:
    """A server that can be stopped, killed and started again on the same data, and its traders."""

    market_name = "ltc_btc"

    def __init__(self, folder: Path, db_url: str = "") -> None:
        self.folder = folder
        self.db_url = db_url
        self.chains = {row.asset_id: MemoryChain(row) for row in (coin(s, Network.REGTEST) for s in ("btc", "ltc"))}
        self.server: Server | None = None
        self._stack = AsyncExitStack()
        self._seeds = 0
        self.settings: dict[str, Any] = {}
        self.epoch_ms = EPOCH_MS
        self.lot_size = LOT
        self.clock: Clock = SystemClock()
        """The server's and the traders'."""

    def config(self) -> Config:
        asset: dict[str, Any] = {"max_fee_rate": 10, "swap_conf": 1, "electrum": ("tcp://unused:1",)}
        return Config(
            server=ServerSection(
                data_dir=self.folder,
                network=Network.REGTEST,
                listen="127.0.0.1:0",
                db_url=self.db_url,
                **({"broadcast_timeout_ms": 60_000} | self.settings),
            ),
            assets=(
                AssetSection(symbol="btc", bond_amount=BOND, **asset),
                AssetSection(symbol="ltc", **asset),
            ),
            markets=(
                MarketSection(base="ltc", quote="btc", lot_size=self.lot_size, rate_step=100, epoch_ms=self.epoch_ms),
            ),
        )

    def _open(self, row: Coin, _: AssetSection) -> MemoryChain:
        return self.chains[row.asset_id]

    def build(self) -> Server:
        """The server, before it starts."""
        return Server(self.config(), self.clock, open_chain=self._open)

    async def start(self) -> None:
        await self._furnish()
        self.server = self.build()
        await self.server.__aenter__()
        await until(self.server.data.healthy)

    async def _furnish(self) -> None:
        """What a first start makes for itself, and what takes it longest: the key's password costs nothing to guess."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        ensure_signing_key(self.folder / KEY_FILE, "", SystemEntropy(), PLAY)
        file = self.folder / DATABASE
        if not self.db_url and not file.exists():
            file.write_bytes(await asyncio.to_thread(empty_file))

    async def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            await server.__aexit__(None, None, None)

    async def crash(self) -> None:
        """End the server without a word to anybody: no farewell, no last write."""
        server, self.server = self.running, None
        await server.crash()

    def expire_requests(self) -> None:
        """Let the time for everything that was asked be over."""
        self.running.hub.expire(float("inf"))

    async def reconnect(self, trader: Trader) -> None:
        """Open a new socket for a trader whose old one is gone."""
        await trader.shut()
        trader.point_at(f"wss://localhost:{self.running.port}/ws")
        await trader.open()

    @property
    def running(self) -> Server:
        assert self.server is not None
        return self.server

    def stranger(self, kind: type[Trader] = Trader) -> Trader:
        """A trader that has not connected."""
        self._seeds += 1
        server = self.running
        return kind(f"wss://localhost:{server.port}/ws", server.certificate, self.chains, self._seeds, self.clock)

    async def guest(self) -> Trader:
        """A trader with an open socket and no account."""
        return await self._stack.enter_async_context(self.stranger())

    async def trader(self, tiers: int = 2) -> Trader:
        """A registered trader, logged in."""
        trader = await self.guest()
        await trader.register(BTC, BOND * tiers)
        return trader

    async def close(self) -> None:
        await self._stack.aclose()
        await self.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]) -> Iterator[str]:
    """The address of a PostgreSQL server; skips aloud where it cannot be had."""
    program("postgres")
    folder = tmp_path_factory.mktemp("postgres")
    with asyncio.Runner() as runner:
        processes = Processes(folder / "logs")
        cluster = Postgres(folder / "cluster", processes)
        runner.run(cluster.start())
        yield cluster.url
        runner.run(processes.stop())


@pytest.fixture(params=["sqlite", "postgresql"])
def db_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database on each engine; "" is SQLite in the data directory."""
    return "" if request.param == "sqlite" else _fresh(request.getfixturevalue("postgres"), tmp_path)


@pytest.fixture
def other_url(request: pytest.FixtureRequest, db_url: str, tmp_path: Path) -> str:
    """A fresh database on the engine that `db_url` is not on."""
    return "" if db_url else _fresh(request.getfixturevalue("postgres"), tmp_path)


def _fresh(url: str, tmp_path: Path) -> str:
    name = f"t{abs(hash(tmp_path)):x}"
    asyncio.run(_create_database(url, name))
    return url.rpartition("/")[0] + f"/{name}"


async def _create_database(url: str, name: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(sa.text(f"CREATE DATABASE {name}"))
    await engine.dispose()


@pytest.fixture
async def exchange(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Exchange]:
    """An exchange on the embedded database."""
    exchange = Exchange(tmp_path)
    await exchange.start()
    yield exchange
    await exchange.close()


@pytest.fixture
async def any_exchange(tmp_path: Path, db_url: str, anyio_backend: str) -> AsyncIterator[Exchange]:
    """An exchange, once on each database engine."""
    exchange = Exchange(tmp_path, db_url)
    await exchange.start()
    yield exchange
    await exchange.close()
