"""The HTTP API on the exchange's own port (protocol section 1.6)."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.server.conftest import EPOCH_MS, Exchange, until
from tests.vectors_for_tests import recorded

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cafile=str(exchange.running.certificate))
    async with httpx.AsyncClient(verify=context, base_url=f"https://localhost:{exchange.running.port}") as client:
        yield client


async def test_config_is_what_the_websocket_answers(exchange: Exchange, http: httpx.AsyncClient) -> None:
    response = await http.get("/api/config")
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.text.endswith("\n")
    config = response.json()
    assert config["apiver"] == 3
    assert config["pubkey"] == exchange.running.key.public.hex()
    assert config["markets"][0]["status"]["startepoch"] > 0
    assert [asset["version"] for asset in config["assets"]] == [0, 1]
    assert config["DEV_bondExpiry"] == 240
    assert (await http.get("/api/config")).status_code == 200  # never metered


async def test_assets_are_shown_as_dcrdex_shows_them(http: httpx.AsyncClient) -> None:
    theirs = next(answer for answer in recorded("dcrdex-http") if answer.get("path") == "/api/config")
    shown = [
        {asset["symbol"]: (asset["id"], asset["version"], asset["unitinfo"]) for asset in config["assets"]}
        for config in (json.loads(theirs["text"]), (await http.get("/api/config")).json())
    ]
    assert shown[0] == shown[1]


async def test_healthy_spots_candles_and_book(exchange: Exchange, http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/healthy")).json() is True
    assert [spot["baseID"] for spot in (await http.get("/api/spots")).json()] == [2]
    assert "startStamps" in (await http.get("/api/candles/ltc/btc/5m")).json()
    assert "endRates" in (await http.get(f"/api/candles/ltc/btc/{EPOCH_MS}ms/10")).json()
    assert (await http.get("/api/orderbook/ltc/btc")).json()["orders"] == []


async def test_bad_requests_are_400(exchange: Exchange, http: httpx.AsyncClient) -> None:
    unknown_bin = await http.get("/api/candles/ltc/btc/7m")
    assert unknown_bin.status_code == 400
    assert "7m" in unknown_bin.json()["error"]
    assert (await http.get("/api/candles/ltc/btc/5m/0")).status_code == 400
    assert (await http.get("/api/orderbook/doge/btc")).status_code == 400
    for method, url, status in (("GET", "/api/nothing", 404), ("POST", "/api/config", 405)):
        response = await http.request(method, url)
        assert (response.status_code, set(response.json())) == (status, {"error"})
    for method, url, status, code in (("GET", "/x", 404, "api.path"), ("PUT", "/healthz", 405, "api.method")):
        response = await http.request(method, url)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert response.headers["content-type"] == "application/json; charset=utf-8"


async def test_limits_and_the_switch(exchange: Exchange, http: httpx.AsyncClient) -> None:
    codes = [(await http.get("/api/healthy")).status_code for _ in range(8)]
    assert codes[0] == 200
    assert codes[-1] == 429
    exchange.running.hub.data_api = False
    assert (await http.get("/api/spots")).status_code == 503


async def test_probes(exchange: Exchange, http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).text == "ok\n"
    assert (await http.get("/readyz")).status_code == 200
    exchange.chains[0].connected = False
    await until(lambda: not exchange.running.data.healthy())
    assert (await http.get("/readyz")).status_code == 503
    told = (await http.get("/metrics")).text
    assert {"twinlock_links 0.0", "twinlock_bonds_waiting 0.0"} <= set(told.splitlines())
