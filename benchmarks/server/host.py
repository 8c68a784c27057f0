"""The server under test, in a process of its own: `python -m benchmarks.server.host PARAMETERS`.

PARAMETERS is the JSON of `Parameters`. One line of JSON on standard output says where it listens; it ends with its
standard input.
"""

from __future__ import annotations

import asyncio
import cProfile
import logging
import pstats
import sys
from pathlib import Path

import msgspec
import structlog
import uvloop
from benchmarks.server.world import BTC, LOT, RATE_STEP, World

from twinlock.chain.coins import Coin, Network
from twinlock.seams import SystemClock
from twinlock.server.app import Server
from twinlock.server.config import AssetSection, Config, MarketSection, ServerSection
from twinlock.server.db import Database
from twinlock.server.db.accounts import StoredBond, add_account, add_bond
from twinlock.server.db.migrate import migrate
from twinlock.server.process import settled

MARKET = "ltc_btc"
_BOND_YEARS_S = 10 * 365 * 86_400


class Parameters(msgspec.Struct, kw_only=True):
    """folder: for the data. profile: a file for the profile of the whole run, "" for none."""

    folder: str
    db_url: str = ""
    tls: bool = False
    epoch_ms: int = 20_000
    broadcast_timeout_ms: int = 720_000
    accounts: int = 0
    coins: int = 0
    profile: str = ""


def config(parameters: Parameters) -> Config:
    """The operator's settings of the exchange under test: all limits as they are by default."""
    common = {"max_fee_rate": 10, "swap_conf": 1, "electrum": ("tcp://in.memory:1",)}
    return Config(
        server=ServerSection(
            data_dir=Path(parameters.folder),
            network=Network.REGTEST,
            listen="127.0.0.1:0",
            db_url=parameters.db_url,
            tls=parameters.tls,
            broadcast_timeout_ms=parameters.broadcast_timeout_ms,
        ),
        assets=(
            AssetSection(symbol="btc", bond_amount=LOT, **common),  # type: ignore[arg-type]
            AssetSection(symbol="ltc", **common),  # type: ignore[arg-type]
        ),
        markets=(
            MarketSection(
                base="ltc",
                quote="btc",
                lot_size=LOT,
                rate_step=RATE_STEP,
                epoch_ms=parameters.epoch_ms,
                parcel_size=10_000,
            ),
        ),
    )


async def register(world: World, settings: ServerSection) -> None:
    """Open every account and give it bonds."""
    await migrate(settings.database_url)
    now = SystemClock().now_ms()
    async with Database(settings.database_url) as database:
        accounts = zip(world.ids, world.keys, strict=True)
        writes = [add_account(account, key.public, now) for account, key in accounts]
        writes += [add_bond(_bond(account, now // 1000 + _BOND_YEARS_S)) for account in world.ids]
        if writes:
            await database.write(*writes)


def _bond(account: bytes, lock_time: int) -> StoredBond:
    return StoredBond(
        asset_id=BTC,
        coin_id=account + bytes(4),
        account_id=account,
        version=0,
        amount=100 * LOT,
        strength=100,
        lock_time=lock_time,
    )


async def serve(parameters: Parameters) -> None:
    """Run until standard input ends."""
    world = World(parameters.accounts, parameters.coins)
    settings = config(parameters)
    await register(world, settings.server)

    def open_chain(row: Coin, _: AssetSection) -> object:
        return world.chains[row.asset_id]

    async with Server(settings, open_chain=open_chain) as server:  # type: ignore[arg-type]
        market = server.manager.markets[MARKET]
        while not market.running(SystemClock().now_ms()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        settled()
        print(msgspec.json.encode({"port": server.port, "key": server.key.public.hex()}).decode(), flush=True)
        profile = cProfile.Profile() if parameters.profile else None
        if profile is not None:
            profile.enable()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        if profile is not None:
            profile.disable()
            _write(profile, Path(parameters.profile))


def _write(profile: cProfile.Profile, path: Path) -> None:
    with path.open("w") as file:
        pstats.Stats(profile, stream=file).strip_dirs().sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), cache_logger_on_first_use=True
    )
    uvloop.run(serve(msgspec.json.decode(sys.argv[1], type=Parameters)))
