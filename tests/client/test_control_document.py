"""The control interface does what its document says, asked right and asked wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.client.fake_server import LOT, MARKET
from tests.client.world import RATE, World, world

from twinlock.client.control.app import Control
from twinlock.client.control.openapi import document
from twinlock.client.control.table import OPERATIONS
from twinlock.client.trader import Trader

TOKEN = "owner"
DOCUMENT = json.loads(json.dumps(document()))
SCHEMA = schemathesis.openapi.from_dict({name: part for name, part in DOCUMENT.items() if name != "security"})
"""Without the keys, which `test_control_keys` is about."""
ROWS = [(row.path.replace(":path}", "}"), row.method) for row in OPERATIONS]


class Live:
    """A trader with money, an order, a condition and a key, on a loop of its own; time passes while it is asked."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.trader: Trader

    def start(self) -> None:
        self._runner.run(self._start())

    def stop(self) -> None:
        self._runner.run(self._world.__aexit__(None, None, None))

    def ask(self, request: httpx.Request) -> httpx.Response:
        return self._runner.run(self._ask(request))

    async def _start(self) -> None:
        self._world = world()
        self._it: World = await self._world.__aenter__()
        (self.trader,) = await self._it.funded("alice")
        control = msgspec.structs.replace(self.trader.config.control, allow_withdraw=True)
        self.trader.config = msgspec.structs.replace(self.trader.config, control=control)
        self._app = Control(self.trader, TOKEN).app()
        for path, body in (
            ("/orders", {"market": MARKET, "side": "sell", "quantity": LOT, "rate": RATE}),
            (
                "/conditions",
                {"name": "a", "market": MARKET, "side": "sell", "quantity": LOT, "stop": RATE - 1_000, "rate": 1_000},
            ),
            ("/keys", {"name": "bot"}),
        ):
            answer = await self._ask(httpx.Request("POST", f"http://127.0.0.1{path}", json=body))
            assert answer.status_code == 200, answer.text
        await self._it.close_epoch()

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        request.headers["authorization"] = f"Bearer {TOKEN}"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app)) as http:
            answer = await self._it.call(http.send(request))
            assert isinstance(answer, httpx.Response)
            return answer


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with asyncio.Runner() as runner:
        found = Live(runner)
        found.start()
        yield found
        found.stop()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("path", "method"), ROWS)
def test_every_answer_is_as_documented(path: str, method: str, mode: GenerationMode, live: Live) -> None:
    operation = SCHEMA[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
        return  # Nothing in it can be wrong but a name in the path, and any text may be one.

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        told = case.as_transport_kwargs(base_url="http://127.0.0.1")
        kept = {name: told[name] for name in ("method", "url", "params", "json", "headers") if told.get(name)}
        if "data" in told:
            kept["content"] = told["data"] if isinstance(told["data"], str | bytes) else str(told["data"])
        answer = live.ask(httpx.Request(**kept))
        assert answer.status_code < 500, answer.text
        # What fits the schema may still be refused: there is no such market, order or coin.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    ask()


def test_what_is_there_is_told_as_documented(live: Live) -> None:
    """The same where the answer is not empty."""
    for path in ("/status", "/wallets", "/bonds", "/markets", "/orders", "/conditions", "/keys", "/wallets/btc/coins"):
        answer = live.ask(httpx.Request("GET", f"http://127.0.0.1{path}"))
        assert answer.status_code == 200
        assert answer.json(), path
        template = path.replace("/btc/", "/{symbol}/")
        case = SCHEMA[template]["GET"].Case(path_parameters={"symbol": "btc"} if template != path else {})
        case.validate_response(answer)


def test_everything_in_the_document_explains_itself() -> None:
    for path, row in DOCUMENT["paths"].items():
        for method, told in row.items():
            assert told["summary"], (path, method)
            assert all(each["description"] for each in told.get("parameters", ()))
            assert ("requestBody" in told) == (method == "post"), (path, method)
    nameless = [name for name, schema in DOCUMENT["components"]["schemas"].items() if not schema.get("description")]
    assert nameless == []


def test_an_unknown_path_or_method_is_refused_with_a_code(live: Live) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("DELETE", "/status", 405)):
        answer = live.ask(httpx.Request(method, f"http://127.0.0.1{path}"))
        assert (answer.status_code, answer.json()["code"]) == (status, "control.unknown")
