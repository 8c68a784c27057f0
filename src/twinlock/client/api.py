"""A running client as a program uses it: typed, asynchronous, over its control interface.

```python
async with connect("/home/me/trader/control.json") as desk:
    market = await desk.market("ltc_btc")
    await desk.limit(market, "buy", market.lot_size, market.last_rate)
```
"""

from __future__ import annotations

import operator
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import reduce
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import msgspec
from websockets.asyncio.client import connect as open_socket

from twinlock.client.control import requests, views
from twinlock.client.control.paging import asked, walk
from twinlock.client.control.remote import TIMEOUT, Remote, RemoteError
from twinlock.client.control.serve import Address
from twinlock.client.errors import ConfigError
from twinlock.client.estimate import Estimate, MaxOrder
from twinlock.client.events import EpochReplayed, Event

Side = Literal["buy", "sell"]
State = Literal["any", "open", "over"]
Quote = tuple[Side, int, int]
"""Side, quantity in base atoms, rate as a message-rate."""

VARIABLE = "TWINLOCK_CONTROL"
"""The environment variable that names a client's `control.json`."""

_EVENT: Any = reduce(operator.or_, cast(list[Any], Event.__subclasses__()))


@asynccontextmanager
async def connect(control: str | Path = "", *, url: str = "", key: str = "") -> AsyncIterator[Api]:
    """The client whose `control.json` this is (or TWINLOCK_CONTROL names), or the one at `url` with a key of its own.

    Raises ConfigError.
    """
    if not url:
        address = _read(control or os.environ.get(VARIABLE, "control.json"))
        url, key = address.url, key or address.token
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT, trust_env=False) as http:
        yield Api(Remote(http), url, headers)


class Api:
    """What `connect` gives. Amounts are atoms, rates message-rates; refusals raise RemoteError with a stable code."""

    def __init__(self, remote: Remote, url: str, headers: dict[str, str]) -> None:
        self._remote = remote
        self._url = url
        self._headers = headers

    # Looking -----------------------------------------------------------------------------------------------

    async def status(self) -> views.StatusView:
        return await self._remote.get("/status", views.StatusView)

    async def wallets(self) -> list[views.WalletView]:
        return await self._remote.get("/wallets", list[views.WalletView])

    async def markets(self) -> list[views.MarketView]:
        return await self._remote.get("/markets", list[views.MarketView])

    async def market(self, name: str) -> views.MarketView:
        """Raises ConfigError where no server has it."""
        for market in await self.markets():
            if market.name == name:
                return market
        raise ConfigError(f"there is no market {name}", fix="look at the list of markets")

    async def book(self, market: views.MarketView) -> views.BookView:
        return await self._remote.get(f"/markets/{market.name}/book?host={market.host}", views.BookView)

    async def orders(self, state: State = "any", *, market: str = "") -> list[views.OrderView]:
        """Oldest first: every order that is open, and the newest hundred of the others."""
        return await self._remote.get(asked("/orders", state=state, market=market), list[views.OrderView])

    async def swaps(self, state: State = "any", *, market: str = "") -> list[views.SwapView]:
        """The same of the swaps."""
        return await self._remote.get(asked("/swaps", state=state, market=market), list[views.SwapView])

    def past_orders(self, *, market: str = "") -> AsyncIterator[views.OrderView]:
        """Every order that is over, the newest first, page by page."""
        return walk(self._remote, "/orders", views.OrderView, state="over", market=market)

    def past_swaps(self, *, market: str = "") -> AsyncIterator[views.SwapView]:
        """Every swap that is over, the newest first, page by page."""
        return walk(self._remote, "/swaps", views.SwapView, state="over", market=market)

    async def epochs(self, market: views.MarketView) -> list[views.EpochView]:
        return await self._remote.get(f"/markets/{market.name}/epochs?host={market.host}", list[views.EpochView])

    async def candles(self, market: views.MarketView, bin_size: str = "1h") -> list[views.CandleView]:
        path = f"/markets/{market.name}/candles?host={market.host}&bin={bin_size}"
        return await self._remote.get(path, list[views.CandleView])

    async def price(self, market: views.MarketView) -> int:
        """The middle of the book, else the last price, in whole rate steps; 0 where there is neither."""
        book = await self.book(market)
        best = [rows[0].rate for rows in (book.buys, book.sells) if rows]
        price = sum(best) // len(best) if best else (await self.market(market.name)).last_rate
        return price - price % market.rate_step

    async def prices(self, market: views.MarketView) -> AsyncIterator[int]:
        """The price now, and after every epoch, once there is one."""
        await self.book(market)  # From now on the client follows the book, and tells of its epochs.
        if price := await self.price(market):
            yield price
        async for event in self.events():
            if isinstance(event, EpochReplayed) and event.market == market.name and (price := await self.price(market)):
                yield price

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens from now on."""
        address = self._url.replace("http", "ws", 1) + "/events"
        async with open_socket(address, additional_headers=self._headers, proxy=None) as socket:
            async for message in socket:
                yield msgspec.json.decode(message, type=_EVENT)

    async def estimate(self, market: views.MarketView, side: Side, quantity: int, rate: int) -> Estimate:
        order = requests.PlaceOrder(market=market.name, side=side, quantity=quantity, rate=rate, host=market.host)
        return await self._remote.post("/orders/estimate", Estimate, order)

    async def largest(self, market: views.MarketView, side: Side, rate: int) -> MaxOrder:
        path = f"/markets/{market.name}/largest?host={market.host}&side={side}&rate={rate}"
        return await self._remote.get(path, MaxOrder)

    # Trading -----------------------------------------------------------------------------------------------

    async def place(self, order: requests.PlaceOrder) -> views.OrderView:
        """Any order, with every option. One with a tag may be placed again: it exists once."""
        return await self._remote.post("/orders", views.OrderView, order)

    async def limit(
        self, market: views.MarketView, side: Side, quantity: int, rate: int, *, tag: str = ""
    ) -> views.OrderView:
        """A standing limit order."""
        order = requests.PlaceOrder(
            market=market.name, side=side, quantity=quantity, rate=rate, tag=tag, host=market.host
        )
        return await self.place(order)

    async def limits(self, market: views.MarketView, *quotes: Quote) -> list[views.Outcome]:
        """Several standing limit orders at once: for each the order, or why it was not placed. Nothing is raised."""
        orders = [
            requests.PlaceOrder(market=market.name, side=side, quantity=quantity, rate=rate, host=market.host)
            for side, quantity, rate in quotes
        ]
        try:
            return await self._remote.post("/orders/several", list[views.Outcome], orders)
        except RemoteError as refusal:
            return [views.Outcome(code=refusal.code, message=str(refusal))] * len(orders)

    async def stop(self, condition: requests.PlaceCondition) -> views.ConditionView:
        """Wait for a price: stop-limit, with `rest_rate` one-cancels-other. One name counts once."""
        return await self._remote.post("/conditions", views.ConditionView, condition)

    async def cancel(self, order_id: str) -> views.OrderView:
        return await self._remote.delete(f"/orders/{order_id}", views.OrderView)

    async def cancel_all(self, market: views.MarketView) -> Sequence[views.OrderView]:
        """Cancel what stands on the book of a market; what the server will not cancel now stays for the next time."""
        cancels = []
        for order in await self.orders("open", market=market.name):
            if (order.host, order.market, order.status) == (market.host, market.name, "booked"):
                try:
                    cancels.append(await self.cancel(order.id))
                except RemoteError:
                    continue
        return cancels


def _read(control: str | Path) -> Address:
    path = Path(control).expanduser()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Address)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"no client serves at {path}", fix=f"start it, or set {VARIABLE}") from error
