"""A wallet that others wrote lives on our indexer, over TCP and SSL: Debian's Electrum receives, sees it confirm, pays,
and keeps its balance through reorganisations; its own checks of the server find nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from twinlock.simnet import services
from twinlock.simnet.node import Node
from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import Process, Processes

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

USER, PASSWORD = "twinlock", "simnet"


class Electrum:
    """The wallet's daemon, asked as its own command line asks it, which takes a second to load for each question."""

    def __init__(self, program: Path, folder: Path, processes: Processes) -> None:
        self._command: list[str | Path] = [program, "--regtest", "-D", folder]
        self._processes = processes
        self._http = httpx.AsyncClient(auth=(USER, PASSWORD), trust_env=False, timeout=60)
        self._url = f"http://127.0.0.1:{free_ports(1)[0]}"

    async def start(self, port: int, protocol: str) -> Process:
        own = ("--rpcport", self._url.rpartition(":")[2], "--rpcuser", USER, "--rpcpassword", PASSWORD)
        server = ("--oneserver", "--server", f"127.0.0.1:{port}:{protocol[0]}")
        daemon = await self._processes.start("electrum", [*self._command, "-v", "daemon", *own, *server])

        async def up() -> bool:
            try:
                return bool(await self.run("getinfo"))
            except httpx.TransportError:
                return False

        await daemon.until(up, 120, "daemon")
        await self.run("create")
        await self.run("load_wallet")
        return daemon

    async def run(self, command: str, **arguments: object) -> Any:
        """One command's answer."""
        question = {"jsonrpc": "2.0", "id": 0, "method": command, "params": arguments}
        answer = (await self._http.post(self._url, json=question)).json()
        assert "error" not in answer, answer
        return answer["result"]


@pytest.mark.parametrize("protocol", ["tcp", "ssl"])
async def test_electrum_receives_confirms_and_pays(
    protocol: str, program: Callable[[str], Path], tmp_path: Path
) -> None:
    async with Processes(tmp_path / "logs") as processes:
        node = Node("btc", tmp_path / "node", processes)
        await node.start()
        indexer = services.indexer(node, tmp_path / "index", processes, protocol)
        await indexer.start()
        electrum = Electrum(program("electrum"), tmp_path / "electrum", processes)
        daemon = await electrum.start(indexer.port, protocol)

        async def balance_is(**amounts: str) -> None:
            """It stands at the node's tip, calls itself synchronised, and has this."""

            async def holds() -> bool:
                at_tip = (await electrum.run("getinfo"))["blockchain_height"] == await node.height()
                synchronized = await electrum.run("is_synchronized") is True
                return at_tip and synchronized and bool(await electrum.run("getbalance") == amounts)

            await daemon.until(holds, 120, f"balance {amounts}")

        address = await electrum.run("getunusedaddress")
        await node.fund(address, 150_000_000)
        await balance_is(confirmed="0", unconfirmed="1.5")
        await node.mine()
        await balance_is(confirmed="1.5")

        target = await node.rpc("getnewaddress")
        raw = await electrum.run("payto", destination=target, amount="0.4", feerate="3")
        txid = await electrum.run("broadcast", tx=raw)
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
        log = "".join(path.read_text() for path in (tmp_path / "logs").glob("electrum*"))
        assert "SYNCHRONIZE" in log.upper(), "the wallet tells what it does"
        for complaint in ("Traceback", "mismatch", "verification failed", "GracefulDisconnect", "| W |", "| E |"):
            assert complaint not in log
