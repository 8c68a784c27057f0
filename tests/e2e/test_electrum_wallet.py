"""A wallet that others wrote lives on our indexer, over TCP and SSL: Debian's Electrum receives, sees it confirm, pays,
and keeps its balance through reorganisations; its own checks of the server find nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twinlock.seams import SystemClock
from twinlock.simnet import services
from twinlock.simnet.node import Node
from twinlock.simnet.processes import Process, Processes

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]


class Electrum:
    """The wallet's daemon and its commands."""

    def __init__(self, program: Path, folder: Path, processes: Processes) -> None:
        self._command: list[str | Path] = [program, "--regtest", "-D", folder]
        self._processes = processes

    async def start(self, port: int, protocol: str) -> Process:
        await self.run("--offline", "create")
        server = ("--oneserver", "--server", f"127.0.0.1:{port}:{protocol[0]}")
        daemon = await self._processes.start("electrum", [*self._command, "-v", "daemon", *server])

        async def up() -> bool:
            return (await self._call("getinfo")).returncode == 0

        await daemon.until(up, 60, "daemon")
        await self.run("load_wallet")
        return daemon

    async def run(self, *arguments: str) -> Any:
        """One command's answer: JSON where it is, else text."""
        done = await self._call(*arguments)
        assert done.returncode == 0, done
        try:
            return json.loads(done.text)
        except json.JSONDecodeError:
            return done.text.strip()

    async def _call(self, *arguments: str) -> Answer:
        pipe = asyncio.subprocess.PIPE
        command = [str(part) for part in (*self._command, *arguments)]
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Answer(process.returncode, out.decode() or err.decode())


class Answer:
    """What a command said."""

    def __init__(self, returncode: int, text: str) -> None:
        self.returncode = returncode
        self.text = text

    def __repr__(self) -> str:
        return f"status {self.returncode}: {self.text}"


@pytest.mark.parametrize("protocol", ["tcp", "ssl"])
async def test_electrum_receives_confirms_and_pays(
    protocol: str, program: Callable[[str], Path], tmp_path: Path
) -> None:
    async with Processes(tmp_path / "logs") as processes:
        node = Node("btc", tmp_path / "node", processes, SystemClock())
        await node.start()
        indexer = services.indexer(node, tmp_path / "index", processes, protocol)
        await indexer.start()
        electrum = Electrum(program("electrum"), tmp_path / "electrum", processes)
        daemon = await electrum.start(indexer.port, protocol)

        async def balance_is(**amounts: str) -> None:
            async def holds() -> bool:
                return bool(await electrum.run("getbalance") == amounts)

            await daemon.until(holds, 60, f"balance {amounts}")

        address = await electrum.run("getunusedaddress")
        await node.fund(address, 150_000_000)
        await balance_is(confirmed="0", unconfirmed="1.5")
        await node.mine()
        await balance_is(confirmed="1.5")
        assert await electrum.run("is_synchronized") is True

        target = await node.rpc("getnewaddress")
        raw = await electrum.run("payto", target, "0.4", "--feerate", "3")
        txid = await electrum.run("broadcast", raw)
        assert await node.mempool() == [txid]
        await node.mine()
        assert await node.unspent(f"addr({target})") == 40_000_000
        left = 110_000_000 - await node.fee(txid)
        after = f"{left // 10**8}.{left % 10**8:08}".rstrip("0")
        await balance_is(confirmed=after)

        # Its block, and then also the one that paid the wallet, are replaced by others.
        for depth in (1, 2):
            await node.invalidate(await node.rpc("getblockhash", await node.height() + 1 - depth))
            await node.rpc("generatetoaddress", depth + 1, await node.rpc("getnewaddress"))
            await balance_is(confirmed=after)
            assert [row["txid"] for row in (await electrum.run("onchain_history"))["transactions"]][-1] == txid
            assert (await electrum.run("getinfo"))["blockchain_height"] == await node.height()
        log = "".join(path.read_text() for path in (tmp_path / "logs").glob("electrum*"))
        assert "SYNCHRONIZE" in log.upper(), "the wallet tells what it does"
        for complaint in ("Traceback", "mismatch", "verification failed", "GracefulDisconnect", "| W |", "| E |"):
            assert complaint not in log
