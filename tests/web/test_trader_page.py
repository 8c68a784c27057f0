"""The trader's page in a real browser: it shows what is, trades, says until when it is safe to close, and that the
client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from playwright.async_api import Page, async_playwright, expect
from tests.client.fake_server import LOT, MARKET
from tests.client.world import RATE, World, world

from twinlock.client.config import ControlConfig
from twinlock.client.control.serve import Address, serving
from twinlock.client.store.records import OrderRecord
from twinlock.client.trader import Trader
from twinlock.protocol.orders import Side
from twinlock.seams import SystemEntropy
from twinlock.web.trader import pages

pytestmark = pytest.mark.anyio


class Passing:
    """Lets the world's clock go on while the browser is waited for, and chains and epochs with it when asked to."""

    def __init__(self, it: World) -> None:
        self._it = it
        self.blocks = False

    async def run(self) -> None:
        while True:
            await self._it.clock.advance(0.25)
            if self.blocks:
                await self._it.mine()
            await asyncio.sleep(0.02)  # of real time, which belongs to the browser


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[World]:
    async with world() as it:
        for trader in await it.funded("alice", "bob"):
            trader.config = msgspec.structs.replace(trader.config, data_dir=str(tmp_path))
        yield it


@asynccontextmanager
async def served(trader: Trader, url: str = "") -> AsyncIterator[Address]:
    """The page, at the address that it had before."""
    control = ControlConfig(listen=url.removeprefix("http://") or "127.0.0.1:0")
    trader.config = msgspec.structs.replace(trader.config, control=control)
    async with serving(trader, SystemEntropy(), pages()) as address:
        yield address


@asynccontextmanager
async def passing(it: World) -> AsyncIterator[Passing]:
    time = Passing(it)
    task = asyncio.create_task(time.run())
    yield time
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def page(program: Callable[[str], Path]) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox"])
        context = await browser.new_context(locale="en-GB", color_scheme="dark")
        yield await context.new_page()
        await browser.close()


async def test_a_trader_sees_trades_and_learns_that_the_client_is_gone(it: World, page: Page, tmp_path: Path) -> None:
    alice, bob = it.traders["alice"], it.traders["bob"]
    trouble: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    key = alice.keyring.create("page", ["read", "trade"])
    async with passing(it) as time, AsyncExitStack() as stack:
        address = await stack.enter_async_context(served(alice))
        await page.clock.set_fixed_time(it.clock.now_ms() // 1000 - 3_600)  # locks of this world are short
        await page.goto(f"{address.url}/#{key}")
        await page.locator("#balances").get_by_text("in bonds").wait_for()
        assert page.url == f"{address.url}/", "the key does not stay in the address"
        assert await page.locator("#safe").inner_text() == "Safe to close"
        assert await page.evaluate("document.documentElement.dataset.theme") == "dark"

        await page.keyboard.press("s")
        assert await page.evaluate("document.activeElement.id") == "quantity"
        await page.keyboard.type("0.1")
        await page.locator("#rate").fill("0.01")
        await expect(page.locator("#estimate")).to_contain_text("You get at least")
        await page.get_by_role("button", name="Sell", exact=True).click()
        await page.locator("#answer").get_by_text("epoch").wait_for()
        assert [(order.quantity, order.rate) for order in alice.orders()] == [(10 * LOT, 4 * RATE)]
        await it.server.close_epoch()
        await page.locator("#book .own").get_by_text("●").wait_for()
        await page.get_by_role("button", name="Cancel").click()
        await it.until(lambda: len(it.server.asked("cancel")) == 1)
        await it.server.close_epoch()
        await page.locator("#orders").get_by_text("canceled").wait_for()

        await bob.limit(MARKET, Side.BUY, 10 * LOT, RATE)
        await it.server.close_epoch()
        await page.get_by_role("button", name="buy 0.10 at 0.002500").click()
        assert await page.locator("#rate").input_value() == "0.002500"
        await page.get_by_role("button", name="Sell", exact=True).click()
        await it.until(lambda: len(it.server.asked("limit")) == 3)
        await it.server.close_epoch()
        await page.locator("#swaps").get_by_text("taker").wait_for()
        await it.mine()
        await expect(page.locator("#safe")).to_contain_text("Safe to close until", timeout=20_000)
        await page.screenshot(path=tmp_path / "trader.png", full_page=True)
        time.blocks = True
        await page.locator("#swaps").get_by_text("swapped").wait_for()
        time.blocks = False
        await expect(page.locator("#safe")).to_have_text("Safe to close")
        await expect(page.locator("#events")).to_contain_text("matched as taker")
        assert trouble == []
        assert all(url.startswith(address.url) for url in asked)

        await page.set_viewport_size({"width": 360, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        await page.keyboard.press("Escape")
        await page.locator("h1").click()
        await page.keyboard.press("t")
        assert await page.evaluate("document.documentElement.dataset.theme") == "light"

        await stack.aclose()
        await page.locator("#trouble").get_by_text("twinlock client run").wait_for()
        async with served(alice, address.url):
            await expect(page.locator("#trouble")).to_be_hidden()


async def test_a_stop_waits_a_market_order_is_weighed_and_a_server_that_is_gone_is_told(it: World, page: Page) -> None:
    alice, bob = it.traders["alice"], it.traders["bob"]
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    async with passing(it), served(alice) as address:
        for rate in (RATE, RATE - 1_000):
            await bob.limit(MARKET, Side.BUY, 3 * LOT, rate)
        await it.server.close_epoch()
        await page.goto(f"{address.url}/#{alice.keyring.create('page', ['read', 'trade'])}")
        await expect(page.locator("#venues .good")).to_have_text("exchange.test:7232tier 1")
        await page.locator("#kind").select_option("market")
        await page.get_by_text("Sell", exact=True).first.click()
        await page.locator("#quantity").fill("0.05")
        await expect(page.locator("#estimate")).to_contain_text("0.0001248 BTC")  # at both rates

        await page.locator("#kind").select_option("stop")
        await page.locator("#stop").fill("0.002")
        await page.locator("#rate").fill("0.0019")
        await page.locator("summary").click()
        await page.locator("#expires").fill("30")
        await page.get_by_role("button", name="Sell once the price is there").click()
        await expect(page.locator("#conditions")).to_contain_text("falls to 0.002000")
        (waiting,) = alice.venue().conditions.open()
        assert (waiting.stop, waiting.rate, waiting.quantity) == (200_000, 190_000, 5 * LOT)
        assert waiting.options.expiry > 0
        await page.get_by_role("button", name="Give up").click()
        await expect(page.locator("#conditions")).to_be_empty()

        it.server.down = True
        await it.server.hang_up()
        await expect(page.locator("#trouble")).to_contain_text("exchange.test:7232: not connected.")
        await expect(page.locator("#venues .bad")).to_be_visible()
        it.server.down = False
        await expect(page.locator("#trouble")).to_be_hidden(timeout=20_000)
    assert trouble == []


async def test_what_a_key_may_not_do_and_a_wrong_key_are_told(it: World, page: Page) -> None:
    alice = it.traders["alice"]
    async with passing(it), served(alice) as address:
        await page.goto(f"{address.url}/")
        await page.locator("#key").fill("tlk_wrong")
        await page.get_by_role("button", name="Open").click()
        await page.locator("#trouble").get_by_text("missing or wrong").wait_for()
        await page.locator("#key").fill(alice.keyring.create("viewer", ["read"]))
        await page.get_by_role("button", name="Open").click()
        await page.locator("#market option").first.wait_for(state="attached")
        await page.locator("#quantity").fill("0.01")
        await page.locator("#rate").fill("0.0025")
        await page.get_by_role("button", name="Buy", exact=True).click()
        await page.locator("#answer").get_by_text("do not include trade").wait_for()
        await page.locator("#quantity").fill("0.015")
        await page.locator("#answer").get_by_text("multiple of the lot size").wait_for()
        assert alice.orders() == []


async def test_what_is_over_is_shown_page_by_page(it: World, page: Page) -> None:
    alice, order = it.traders["alice"], await resting(it)
    past = msgspec.structs.replace(order, status="executed", funds_released=True, funds=(), tag="")
    for number in range(60):
        commitment = number.to_bytes(32)
        it.stores["alice"].put(msgspec.structs.replace(past, tclient=order.tclient - 1 - number, commitment=commitment))
    async with passing(it), served(alice) as address:
        await page.goto(f"{address.url}/#{address.token}")
        rows = page.locator("#orders tbody tr")
        await expect(rows).to_have_count(51)
        await expect(rows.first).to_contain_text("Cancel")  # what is open comes first, and counts for nothing
        await page.get_by_role("button", name="Show older orders").click()
        await expect(rows).to_have_count(61)
        await expect(page.get_by_role("button", name="Show older orders")).to_have_count(0)


async def resting(it: World) -> OrderRecord:
    order = await it.call(it.traders["alice"].limit(MARKET, Side.SELL, LOT, RATE))
    assert isinstance(order, OrderRecord)
    await it.close_epoch()
    return order


async def test_the_files_are_for_everybody_and_let_nothing_in(it: World) -> None:
    alice = it.traders["alice"]
    async with passing(it), served(alice) as address, httpx.AsyncClient(base_url=address.url, trust_env=False) as http:
        for path in pages():
            answer = await http.get(path)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await http.get("/status")).status_code == 401
        assert (await http.get("/", headers={"host": "evil.example"})).status_code == 400
