"""The whole exchange stands up, serves, and is gone afterwards, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from twinlock.client.link import tls_context
from twinlock.seams import SystemClock
from twinlock.simnet.exchange import Exchange, Plan
from twinlock.simnet.processes import Process, ProcessError
from twinlock.simnet.traders import configuration

pytestmark = [pytest.mark.anyio, pytest.mark.node]


@pytest.fixture(autouse=True)
def nodes(program: Callable[[str], Path]) -> None:
    for name in ("bitcoind", "litecoind"):
        program(name)


async def test_every_service_answers_and_the_last_started_stops_first(tmp_path: Path) -> None:
    stopped: list[str] = []

    def said(process: Process, _status: int) -> None:
        stopped.append(process.name)

    async with Exchange(Plan(), tmp_path, SystemClock(), said) as exchange:
        context = tls_context(configuration(exchange, "anybody").servers[0])
        async with httpx.AsyncClient(verify=context, trust_env=False) as http:
            config = (await http.get(f"https://{exchange.host}/api/config")).json()
        assert [market["name"] for market in config["markets"]] == ["ltc_btc"]
        assert config["markets"][0]["lotsize"] == Plan().lot_size
    assert stopped[0] == "server"
    assert set(stopped[1:3]) == {"indexer-btc", "indexer-ltc"}
    assert set(stopped[3:]) == {"node-btc", "node-ltc"}


async def test_a_part_that_cannot_start_takes_the_others_down_and_says_why(tmp_path: Path) -> None:
    exchange = Exchange(Plan(lot_size=0), tmp_path, SystemClock())
    with pytest.raises(ProcessError, match="server ended with status 1"):
        await exchange.__aenter__()
    assert exchange.processes.running() == []


async def test_a_killed_indexer_comes_back_on_its_port(tmp_path: Path) -> None:
    async with Exchange(Plan(), tmp_path, SystemClock()) as exchange:
        indexer = exchange.indexers["ltc"]
        before = exchange.electrum("ltc")
        await indexer.kill()
        await indexer.start()
        assert exchange.electrum("ltc") == before
