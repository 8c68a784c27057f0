"""The control interface: a trader ordered about over HTTP, with a token, idempotently."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.client.fake_server import LOT, MARKET
from tests.client.world import FUNDS, RATE, World, world
from websockets.asyncio.client import connect

from twinlock.client.config import ControlConfig
from twinlock.client.control import views
from twinlock.client.control.remote import Remote, RemoteError, daemon, embedded
from twinlock.client.control.serve import FILE_NAME, find, serving
from twinlock.client.events import Notice
from twinlock.client.trader import Trader
from twinlock.seams import SystemClock, SystemEntropy

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        yield it


async def place(it: World, remote: Remote, **members: object) -> views.OrderView:
    body = {"market": MARKET, "side": "sell", "quantity": 3 * LOT, "rate": RATE} | members
    answer = await it.call(remote.post("/orders", views.OrderView, body))
    assert isinstance(answer, views.OrderView)
    return answer


async def test_a_program_sees_what_there_is(it: World) -> None:
    (alice,) = await it.funded("alice")
    async with embedded(alice) as remote:
        status = await remote.get("/status", views.StatusView)
        assert [(venue.connected, venue.tier) for venue in status.venues] == [(True, 1)]
        assert (status.running_swaps, status.safe_until) == (0, None)
        wallets = {row.asset: row for row in await remote.get("/wallets", list[views.WalletView])}
        assert wallets["ltc"].available == FUNDS
        assert wallets["btc"].bonded == 500_000
        assert [market.name for market in await remote.get("/markets", list[views.MarketView])] == [MARKET]
        assert [bond.state for bond in await remote.get("/bonds", list[views.BondView])] == ["posted"]


async def test_an_order_placed_twice_under_one_tag_exists_once(it: World) -> None:
    (alice,) = await it.funded("alice")
    async with embedded(alice) as remote:
        first = await place(it, remote, tag="bot-1")
        again = await place(it, remote, tag="bot-1")
        other = await place(it, remote, tag="bot-2")
        assert first.id == again.id != other.id
        assert len(it.server.asked("limit")) == 2


async def test_an_order_is_seen_on_the_book_and_cancelled(it: World) -> None:
    (alice,) = await it.funded("alice")
    async with embedded(alice) as remote:
        order = await place(it, remote)
        await it.close_epoch()
        book = await remote.get(f"/markets/{MARKET}/book", views.BookView)
        assert [(row.order_id, row.quantity, row.own) for row in book.sells] == [(order.id, 3 * LOT, True)]
        with pytest.raises(RemoteError) as unknown:
            await remote.delete("/orders/zz", views.OrderView)
        assert unknown.value.code == "order.unknown"
        await it.call(remote.delete(f"/orders/{order.id[:12]}", views.OrderView))
        await it.close_epoch()
        assert [row.status for row in await remote.get("/orders", list[views.OrderView])] == ["canceled", "executed"]
        assert (await remote.get(f"/markets/{MARKET}/book", views.BookView)).sells == []
        await it.until(lambda: alice.wallet("ltc").balance().available == FUNDS)


async def test_refusals_name_their_code_and_what_to_do(it: World) -> None:
    (alice,) = await it.funded("alice")
    async with embedded(alice) as remote:
        with pytest.raises(RemoteError) as odd:
            await place(it, remote, quantity=LOT + 1)
        assert (odd.value.code, odd.value.numbers["lot_size"]) == ("order.lot_size", LOT)
        assert odd.value.fix
        with pytest.raises(RemoteError) as garbage:
            await place(it, remote, side="sideways")
        assert garbage.value.code == "control.request"
        with pytest.raises(RemoteError) as withdrawing:
            await remote.post("/wallets/btc/send", dict[str, str], {"address": "x", "amount": 1})
        assert withdrawing.value.code == "control.forbidden"
    assert not it.server.asked("limit")


async def test_only_the_holder_of_the_token_is_answered(it: World, tmp_path: Path) -> None:
    config = msgspec.structs.replace(it.config(), data_dir=str(tmp_path), servers=(), control=ControlConfig())
    alice = await it.start("alice")
    trader = Trader(msgspec.structs.replace(config, wallets=()), clock=SystemClock(), store=it.stores["alice"])
    assert alice is not trader
    async with trader, serving(trader, SystemEntropy()) as address:
        assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
        async with httpx.AsyncClient(base_url=address.url, trust_env=False) as http:
            assert (await http.get("/status")).status_code == 401
            wrong = {"authorization": "Bearer wrong"}
            assert (await http.get("/status", headers=wrong)).status_code == 401
            right = {"authorization": f"Bearer {address.token}"}
            assert (await http.get("/status", headers=right)).status_code == 200
            assert (await http.get("/status", headers={**right, "host": "evil.example"})).status_code == 400
        async with daemon(config) as remote:
            assert (await remote.get("/status", views.StatusView)).network == "regtest"
        events = address.url.replace("http", "ws") + "/events"
        async with connect(events, additional_headers={"authorization": f"Bearer {address.token}"}, proxy=None) as feed:
            trader.tell(Notice(text="hello"))
            assert msgspec.json.decode(await feed.recv())["text"] == "hello"
    assert find(tmp_path) is None
