"""What is stored stays: every released schema opens, no query reads more than it answers, candles are whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange, until

from twinlock.protocol.candles import Candle
from twinlock.protocol.orders import Side
from twinlock.seams import SystemClock
from twinlock.server.db import Database, Write, history
from twinlock.server.db.accounts import load_account, newest_points
from twinlock.server.db.epochs import load_candles
from twinlock.server.db.history import Place
from twinlock.server.db.matches import StoredMatch, TradeFilter, add_matches, load_active_matches, market_trades
from twinlock.server.db.migrate import migrate
from twinlock.server.db.orders import add_order, load_active
from twinlock.server.db.schema import MATCH_ACTIVE, ORDER_ACTIVE, accounts, matches, metadata, orders

pytestmark = pytest.mark.anyio

SCHEMAS = sorted((Path(__file__).parent / "schemas").glob("*.sql"))
"""One dump for each schema that was ever released, from an exchange with a match under way and a missed preimage."""


@pytest.fixture
def url(db_url: str, tmp_path: Path) -> str:
    return db_url or f"sqlite+aiosqlite:///{tmp_path}/test.db"


def rows_of(dump: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of a dump by table."""
    with sqlite3.connect(":memory:") as old:
        old.executescript(dump.read_text())
        old.row_factory = sqlite3.Row
        names = [name for (name,) in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [dict(row) for row in old.execute(f"SELECT * FROM {name}")] for name in names}


async def fill(engine: AsyncEngine, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Insert rows into the tables as they are in the database now."""
    async with engine.begin() as connection:
        now = await connection.run_sync(lambda sync: _reflected(sync))
        for table in now.sorted_tables:
            flags = [column.name for column in table.columns if isinstance(column.type, sa.Boolean)]
            filled = [row | {name: bool(row[name]) for name in flags} for row in rows.get(table.name, [])]
            if filled and table.name != "alembic_version":
                await connection.execute(table.insert(), filled)


def _reflected(connection: sa.Connection) -> sa.MetaData:
    found = sa.MetaData()
    found.reflect(connection)
    return found


@pytest.mark.parametrize("dump", SCHEMAS, ids=lambda path: path.stem)
async def test_every_released_schema_opens(url: str, dump: Path) -> None:
    await migrate(url, dump.stem)
    old = rows_of(dump)
    engine = create_async_engine(url)
    await fill(engine, old)
    await migrate(url)
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
    await engine.dispose()
    assert differences == []
    async with Database(url) as database:
        [booked] = await load_active(database, "ltc_btc")
        assert booked.status.active
        [settling] = await load_active_matches(database)
        account = await load_account(database, settling.maker_account)
        assert account is not None
        assert len(account.bonds) == 1
        for name, rows in old.items():
            if name in metadata.tables:
                count = sa.select(sa.func.count().label("n")).select_from(metadata.tables[name])
                assert await database.fetch_one(count, lambda row: int(row["n"])) == len(rows), name


def test_each_step_but_the_last_has_a_dump() -> None:
    steps = sorted(
        path.stem[1:5] for path in (Path(migrate.__code__.co_filename).parent).glob("migrations/versions/v*")
    )
    assert [path.stem for path in SCHEMAS] == steps[: len(SCHEMAS)]
    assert len(SCHEMAS) >= len(steps) - 1


async def explain(engine: AsyncEngine, query: sa.Select[Any]) -> str:
    """How the engine would run a query, if tables were too large to be read."""
    compiled = query.compile(engine.sync_engine, compile_kwargs={"render_postcompile": True})
    values = tuple(compiled.params[name] for name in compiled.positiontup or ())
    async with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(sa.text("SET enable_seqscan = off"))
            await connection.execute(sa.text("SET enable_bitmapscan = off"))
            found = await connection.exec_driver_sql(f"EXPLAIN {compiled}", values)
        else:
            found = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)
        return "\n".join(str(row[-1]) for row in found)


ID = bytes(range(32))
DEEP = Place(1_700_000_000_000, ID)
QUERIES: dict[str, tuple[sa.Select[Any], str]] = {
    "orders under way": (
        sa.select(orders).where(orders.c.market == "m", ORDER_ACTIVE).order_by(orders.c.server_time, orders.c.order_id),
        "orders_active",
    ),
    "matches under way": (sa.select(matches).where(MATCH_ACTIVE), "matches_active"),
    "orders of an account": (history.account_orders(ID, DEEP), "orders_by_account"),
    "orders of a market": (history.market_orders("m", DEEP), "orders_by_market"),
    "matches of a market": (history.market_matches("m", DEEP), "matches_by_market"),
    "matches of a market under way": (history.market_matches("m", DEEP, ended=False), "matches_active"),
    "matches of an account": (history.account_matches(ID, DEEP), "matches_by_maker"),
    "trades": (market_trades("m", 100, TradeFilter()), "matches_traded"),
    "trades, a deep page": (market_trades("m", 100, TradeFilter(after=DEEP)), "matches_traded"),
    "sales of a day": (
        market_trades("m", 100, TradeFilter(taker_sells=True, since=DEEP.stamp, until=DEEP.stamp + 1, after=DEEP)),
        "matches_traded",
    ),
    "candles": (history.market_candles("m", 300_000, 10**12), ""),
    "outcomes of an account": (newest_points(ID, 100), "points_by_class"),
    "users": (
        sa.select(accounts.c.account_id).where(accounts.c.account_id > ID).order_by(accounts.c.account_id).limit(100),
        "",
    ),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_no_query_reads_a_whole_table_or_sorts_one(url: str, name: str) -> None:
    await migrate(url)
    engine = create_async_engine(url)
    query, index = QUERIES[name]
    plan = await explain(engine, query)
    await engine.dispose()
    assert index in plan
    assert "Seq Scan" not in plan
    whole = [line for line in plan.splitlines() if line.startswith("SCAN ") and "INDEX" not in line]
    assert [line for line in whole if not any(part in line for part in ("side", "window", "SUBQUERY"))] == []
    if name != "matches of an account":  # it sorts the two pages that it merges, never more
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan


async def test_pages_follow_each_other_without_gap_or_overlap(exchange: Exchange) -> None:
    """Several orders share one moment; the ID decides between them."""
    trader = await exchange.trader(tiers=8)
    placed = set()
    for _ in range(3):
        funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
        receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
        placed.add(bytes(receipt.order_id))
    database = exchange.running.database
    first = (await load_active(database, "ltc_btc"))[0]
    twins = [
        msgspec.structs.replace(first.order, id=bytes([number]) * 32, commitment=bytes([number]) * 32)
        for number in range(1, 6)
    ]
    await database.write(*(add_order(twin, "ltc_btc", 400) for twin in twins))
    everything = placed | {twin.id for twin in twins}
    for query in (history.account_orders, history.market_orders):
        key: Any = trader.account if query is history.account_orders else "ltc_btc"
        place, seen = history.NEWEST, []
        while page := await history.read_orders(database, query(key, place, 2)):
            assert len(page) <= 2
            seen += [stored.order.id for stored in page]
            place = Place(page[-1].order.server_time, page[-1].order.id)
        assert len(seen) == len(set(seen))
        assert set(seen) == everything


async def test_matches_of_an_account_are_those_of_both_sides(any_exchange: Exchange) -> None:
    exchange = any_exchange
    maker, taker = await exchange.trader(), await exchange.trader()
    executor = exchange.running.manager.executor
    for count, (first, second) in enumerate(((maker, taker), (taker, maker))):
        funds = exchange.chains[LTC].fund(first.new_key(), 3 * LOT)
        money = exchange.chains[BTC].fund(second.new_key(), 3 * LOT)
        sold = await first.place(first.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
        await first.booked(sold.order_id, MARKET)
        await second.place(second.limit_order(MARKET, Side.BUY, LOT, RATE, money))
        await until(lambda made=count: len(executor) > made)  # type: ignore[misc]
    database = exchange.running.database
    found = await history.read_matches(database, history.account_matches(maker.account))
    assert len(found) == 2
    assert {match.maker_account for match in found} == {maker.account, taker.account}
    [older] = await history.read_matches(
        database, history.account_matches(maker.account, Place(found[0].match_time, found[0].match_id))
    )
    assert older == found[1]
    ids = [match.match_id for match in found]
    [newest] = await history.read_matches(database, history.market_matches("ltc_btc", count=1))
    after = Place(newest.match_time, newest.match_id)
    rest = await history.read_matches(database, history.market_matches("ltc_btc", after))
    assert [match.match_id for match in (newest, *rest)] == ids
    active = await history.read_matches(database, history.market_matches("ltc_btc", ended=False))
    assert [match.match_id for match in active] == ids


async def test_candles_of_every_bin_survive_a_restart_and_agree(any_exchange: Exchange) -> None:
    exchange = any_exchange
    maker, taker = await exchange.trader(tiers=4), await exchange.trader(tiers=4)

    def traded() -> int:
        return sum(exchange.running.data.candles(LTC, BTC, "1h", 1_000).match_volumes)

    for count, rate in enumerate((RATE, 2 * RATE), start=1):
        funds = exchange.chains[LTC].fund(maker.new_key(), 3 * LOT)
        money = exchange.chains[BTC].fund(taker.new_key(), 30 * LOT)
        sold = await maker.place(maker.limit_order(MARKET, Side.SELL, LOT, rate, funds))
        await maker.booked(sold.order_id, MARKET)
        await taker.place(taker.limit_order(MARKET, Side.BUY, LOT, rate, money))
        await until(lambda wanted=count * LOT: traded() == wanted)  # type: ignore[misc]
        await exchange.stop()
        await exchange.start()
        for trader in (maker, taker):
            await exchange.reconnect(trader)
            await trader.connect()
    server = exchange.running
    start = SystemClock().now_ms()
    market = server.manager.markets["ltc_btc"]
    await until(lambda: market.now() * market.terms.epoch_ms > start + 2 * market.terms.epoch_ms)
    for name in ("24h", "1h", "5m", "400ms"):
        told = server.data.candles(LTC, BTC, name, 1_000)
        assert sum(told.match_volumes) == 2 * LOT, name
        assert max(told.high_rates) == 2 * RATE, name
        assert told.end_stamps == sorted(set(told.end_stamps)), name
    stored = await load_candles(server.database, "ltc_btc", 86_400_000, 10)
    assert sum(candle.match_volume for candle in stored) == 2 * LOT
    page: list[Candle] = await history.read_candles(
        server.database, history.market_candles("ltc_btc", 86_400_000, 2**60)
    )
    assert [candle.start_stamp for candle in page] == [candle.start_stamp for candle in stored[::-1]]


async def test_old_candles_are_found_a_page_at_a_time(url: str) -> None:
    await migrate(url)
    async with Database(url) as database:
        table = metadata.tables["candles"]
        names = [field.name for field in msgspec.structs.fields(Candle)]
        rows = [
            dict.fromkeys(names, number) | {"market": "m", "bin_ms": 1_000, "bin": number} for number in range(2_500)
        ]
        await database.write(Write(table.insert(), rows))
        seen: list[int] = []
        before = 2**60
        while page := await history.read_candles(database, history.market_candles("m", 1_000, before, 1_000)):
            seen += [candle.end_stamp for candle in page]
            before = seen[-1] * 1_000
        assert seen == list(range(2_500))[::-1]


@pytest.mark.parametrize("count", [1, 3])  # the engines take one row otherwise than many
async def test_a_match_begins_with_nothing_settled(url: str, count: int) -> None:
    await migrate(url)
    made = [
        StoredMatch(
            match_id=bytes([number]) * 32,
            market="ltc_btc",
            active=True,
            taker_sells=True,
            taker_order=b"t" * 32,
            taker_account=b"T" * 32,
            taker_address="o'taker",
            maker_order=b"m" * 32,
            maker_account=b"M" * 32,
            maker_address="maker",
            quantity=LOT,
            rate=RATE,
            fee_rate_base=1,
            fee_rate_quote=2,
            epoch=3,
            epoch_ms=400,
            match_time=1_600,
        )
        for number in range(count)
    ]
    async with Database(url) as database:
        await database.write(*add_matches(made))
        found = await load_active_matches(database)
    assert sorted(found, key=lambda match: match.match_id) == made
