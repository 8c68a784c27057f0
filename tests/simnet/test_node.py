"""Real nodes: a chain whose rules are all in force, whose time is now, and that survives a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twinlock.seams import SystemClock
from twinlock.simnet.node import KINDS, MEDIAN_BLOCKS, Node, NodeError
from twinlock.simnet.processes import Processes

pytestmark = [pytest.mark.anyio, pytest.mark.node]
clock = SystemClock()


@pytest.fixture(params=sorted(KINDS))
def symbol(request: pytest.FixtureRequest, program: Callable[[str], Path]) -> str:
    name: str = request.param
    program(KINDS[name].program)
    return name


async def test_a_node_mines_pays_tells_time_and_survives_kill_9(symbol: str, tmp_path: Path) -> None:
    async with Processes(tmp_path / "logs") as processes:
        node = Node(symbol, tmp_path / symbol, processes)
        await node.start()
        now = clock.now_ms() // 1000
        assert now - 60 < await node.median_time() <= now + 11
        height = await node.height()
        assert height > KINDS[symbol].history

        address = await node.rpc("getnewaddress")
        txid = await node.fund(address, 123_456_789)
        assert await node.mempool() == [txid]
        await node.mine()
        assert await node.mempool() == []
        assert await node.unspent(f"addr({address})") == 123_456_789

        await node.pass_time(now + 5000)
        assert now + 5000 < await node.median_time() < now + 5100
        await node.set_time(None)

        tip = (await node.mine())[0]
        before = await node.height()
        await node.invalidate(tip)
        assert await node.height() == before - 1

        with pytest.raises(NodeError, match="getblockhash") as refusal:
            await node.rpc("getblockhash", 10**6)
        assert refusal.value.numbers["rpc"] == -8

        assert node.process is not None
        await node.process.kill()
        await node.start()
        assert await node.height() > KINDS[symbol].history
        assert await node.unspent(f"addr({address})") == 123_456_789
        await node.stop()


async def test_a_node_begins_on_the_history_of_an_earlier_one(symbol: str, tmp_path: Path) -> None:
    history = KINDS[symbol].history
    found = []
    async with Processes(tmp_path / "logs") as processes:
        for name in ("first", "second"):
            node = Node(symbol, tmp_path / name, processes, shelf=tmp_path / "shelf")
            await node.start()
            assert await node.height() == history + MEDIAN_BLOCKS
            assert clock.now_ms() // 1000 - 60 < await node.median_time()
            address = await node.rpc("getnewaddress")
            txid = await node.fund(address, 50_000)
            await node.mine()
            assert await node.unspent(f"addr({address})") == 50_000, txid
            found.append(await node.rpc("getblockhash", history))
            await node.stop()
    assert found[0] == found[1]
    [kept] = (tmp_path / "shelf").iterdir()
    assert not (kept / "debug.log").exists()


async def test_contracts_that_wait_for_the_clock_are_enforced(symbol: str, tmp_path: Path) -> None:
    async with Processes(tmp_path / "logs") as processes:
        node = Node(symbol, tmp_path / symbol, processes)
        await node.start()
        if symbol == "ltc":
            forks = (await node.rpc("getblockchaininfo"))["softforks"]
            assert all(forks[name]["active"] for name in ("bip65", "csv", "segwit"))
            assert not forks["mweb"]["active"]
        else:
            forks = (await node.rpc("getdeploymentinfo"))["deployments"]
            assert all(forks[name]["active"] for name in ("bip65", "csv", "segwit"))
        await node.stop()
