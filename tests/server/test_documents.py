"""The OpenAPI and AsyncAPI documents: what they say is what a live server does, and nothing is missing in them."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.server.conftest import Exchange
from tests.server.test_market_data import trade

from twinlock.protocol.limits import ALLOWANCES, Allowance, Meter
from twinlock.protocol.routes import ROUTES
from twinlock.server.comms.meters import Granted, Meters
from twinlock.server.data import DataDesk
from twinlock.server.http.asyncapi import asyncapi_document
from twinlock.server.http.market_data import MarketData
from twinlock.server.http.operations import operations

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "market-data.md"


class Generous(Meters):
    """Counts, and allows everything."""

    def _grant(self, address: str, meter: Meter) -> Granted:
        granted = super()._grant(address, meter)
        return granted._replace(allowed=True)


class Live:
    """An exchange with a few trades, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self.url = ""

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(60)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, verify=ssl.create_default_context(cafile=self.certificate))

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        exchange = Exchange(self._folder)
        exchange.settings["data_api"] = True
        await exchange.start()
        try:
            await trade(exchange)
            server = exchange.running
            server.hub.meters = Generous(server._clock.monotonic)
            self.certificate = str(server.certificate)
            self.url = f"https://localhost:{server.port}"
            self._ready.set()
            await self._stop.wait()
        finally:
            self._ready.set()
            await exchange.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    running = Live(tmp_path_factory.mktemp("live"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def document(live: Live) -> dict[str, Any]:
    found = live.get("/api/openapi.json")
    assert found.status_code == 200
    return dict(found.json())


@pytest.fixture(scope="module")
def schema(live: Live, document: dict[str, Any]) -> Any:
    return schemathesis.openapi.from_dict(document)


PATHS = [operation.path for operation in operations(cast(DataDesk, None), cast(MarketData, None))]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_as_documented(path: str, mode: GenerationMode, schema: Any, live: Live) -> None:
    """Right and wrong questions alike: status, headers and body are what the document promises."""
    operation = schema[path]["GET"]
    if mode is GenerationMode.NEGATIVE and not operation.query and not operation.path_parameters:
        return

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        # The protocol's own routes answer 400 for a market that is not there (section 1.6), however well it is spelt.
        unfit = [] if path.startswith("/api/v1/") else [positive_data_acceptance]
        case.call_and_validate(base_url=live.url, verify=live.certificate, excluded_checks=unfit)

    ask()


def test_every_pair_answers_with_what_is_documented(live: Live, document: dict[str, Any]) -> None:
    """The same for a question whose answer is not empty."""
    for path, item in document["paths"].items():
        query = "?ticker_id=LTC_BTC" if any(p["name"] == "ticker_id" for p in item["get"]["parameters"]) else ""
        url = path.format(base="ltc", quote="btc", bin="5m", count=3) + query
        response = live.get(url)
        assert response.status_code == 200, url
        [(media, content)] = item["get"]["responses"]["200"]["content"].items()
        assert response.headers["content-type"].startswith(media)
        if media == "application/json":
            validator = jsonschema_rs.validator_for(content["schema"] | {"components": document["components"]})
            validator.validate(response.json())
        assert response.content not in (b"[]\n", b"")


def test_no_route_is_missing(live: Live, document: dict[str, Any]) -> None:
    assert set(document["paths"]) == {
        *("/api/config", "/api/healthy", "/api/spots", "/api/ledger/{base}/{quote}"),
        *("/api/candles/{base}/{quote}/{bin}", "/api/candles/{base}/{quote}/{bin}/{count}"),
        "/api/orderbook/{base}/{quote}",
        *(f"/api/v1/{name}" for name in ("pairs", "tickers", "orderbook", "trades", "historical_trades", "candles")),
    }


def test_the_documents_are_well_formed(live: Live, document: dict[str, Any]) -> None:
    feeds = live.get("/api/asyncapi.json").json()
    assert feeds == json.loads(json.dumps(asyncapi_document()))
    for told in (document, feeds):
        for reference in set(_references(told)):
            found: Any = told
            for part in reference.removeprefix("#/").split("/"):
                found = found[part]
        jsonschema_rs.validator_for(
            {"$ref": "#/components/schemas/" + next(iter(told["components"]["schemas"])), **told}
        )


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_every_route_of_the_protocol_is_in_the_asyncapi_document() -> None:
    messages = asyncapi_document()["channels"]["dex_protocol"]["messages"]
    assert {name for name in messages if not name.endswith("_result")} == set(ROUTES)
    operations = asyncapi_document()["operations"]
    told = {reference["$ref"].rpartition("/")[2] for reference in operations["tell_protocol"]["messages"]}
    asked = {reference["$ref"].rpartition("/")[2] for reference in operations["ask_protocol"]["messages"]}
    assert {"config_result", "preimage", "book_order"} <= told
    assert {"config", "preimage_result", "limit"} <= asked
    assert not told & asked
    assert told | asked == set(messages)


def test_the_page_tells_every_path_and_message(document: dict[str, Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for path in document["paths"]:
        assert f"`{path}`" in page, path
    feed = asyncapi_document()
    for reference in feed["operations"]["ask_feed"]["messages"] + feed["operations"]["tell_feed"]["messages"]:
        message = feed["channels"]["market_feed"]["messages"][reference["$ref"].rpartition("/")[2]]
        schema = feed["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
        tag = schema["properties"].get("type", schema["properties"].get("op"))["enum"][0]
        assert f"`{tag}`" in page, tag


def test_the_allowance_is_what_the_page_says() -> None:
    assert ALLOWANCES[Meter.MARKET_DATA] == Allowance(10, 100)
    assert "10 a second, 100 at once" in PAGE.read_text(encoding="utf-8")
