"""The operator's page in a real browser: it shows what is, changes what is asked, and loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from playwright.async_api import Page, async_playwright
from tests.server.conftest import LOT, LTC, MARKET, RATE, Exchange

from twinlock.protocol import routes
from twinlock.protocol.orders import Side
from twinlock.server.app import Server
from twinlock.server.db.schema import audit
from twinlock.web.operator import pages

pytestmark = pytest.mark.anyio

PASSWORD = "open sesame"


class Shown(Exchange):
    """An exchange that shows the operator's page."""

    def build(self) -> Server:
        return Server(self.config(), open_chain=self._open, pages=pages())


@pytest.fixture
async def shown(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Shown]:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    exchange = Shown(tmp_path / "data")
    exchange.settings = {"admin_listen": "127.0.0.1:0", "admin_password_file": password}
    await exchange.start()
    yield exchange
    await exchange.close()


@pytest.fixture
async def page(program: Callable[[str], Path], shown: Shown) -> AsyncIterator[Page]:
    """A tab of a headless Chromium that knows the password."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox"])
        context = await browser.new_context(
            http_credentials={"username": "ann", "password": PASSWORD}, ignore_https_errors=True, locale="en-GB"
        )
        yield await context.new_page()
        await browser.close()


async def test_an_operator_sees_and_changes_the_exchange(shown: Shown, page: Page, tmp_path: Path) -> None:
    trouble: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: dialog.accept("2" if dialog.type == "prompt" else ""))
    trader = await shown.trader()
    trader.lies = True
    funds = shown.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    await trader.note(routes.SCORECHANGED)
    base = f"https://localhost:{shown.running.admin_port}/"
    await page.goto(base)
    await page.get_by_text("running", exact=True).wait_for()
    assert await page.locator("#state").inner_text() == "open"
    await page.locator("#account").fill(trader.account.hex())
    await page.get_by_role("button", name="Explain").click()
    await page.get_by_text("preimage miss").wait_for()
    assert "score -2" in await page.locator("#standing").inner_text()
    assert await page.locator("#outcomes code").get_attribute("title") == receipt.order_id.hex()
    await page.get_by_role("button", name="Scale").first.click()
    await page.get_by_text("setfeescale/2").wait_for()
    await page.locator("#text").fill("<b>maintenance</b> at noon")
    await page.get_by_role("button", name="Send").click()
    assert await trader.note(routes.NOTIFY) == "<b>maintenance</b> at noon"
    await page.get_by_role("button", name="Make").click()
    await page.get_by_text("prepaybonds").wait_for()
    await page.screenshot(path=tmp_path / "operator.png", full_page=True)
    await page.get_by_role("button", name="Suspend", exact=True).click()
    await page.get_by_role("button", name="Resume").wait_for()
    assert trouble == []
    assert all(url.startswith(base) for url in asked)
    await page.set_viewport_size({"width": 375, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == 375
    assert await page.locator("#outcomes td").first.get_attribute("data-head") == "When"
    kept = await shown.running.database.fetch(sa.select(audit.c.operator), lambda row: str(row["operator"]))
    assert set(kept) == {"ann"}


async def test_nobody_else_may_ask_for_the_operator(shown: Shown) -> None:
    base = f"https://localhost:{shown.running.admin_port}"
    async with httpx.AsyncClient(verify=False, base_url=base, trust_env=False) as http:
        for path in ("/", "/operator.js", "/operator.css", "/api/audit"):
            assert (await http.get(path)).status_code == 401
        http.auth = httpx.BasicAuth("ann", PASSWORD)
        assert "default-src 'none'" in (await http.get("/")).headers["content-security-policy"]
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            answer = await http.post("/api/market/ltc_btc/suspend", headers=headers)
            assert answer.status_code == 403
        assert (await http.get("/api/market/ltc_btc")).json()["running"] is True
        assert [entry["status"] for entry in (await http.get("/api/audit")).json()] == [403, 403]
