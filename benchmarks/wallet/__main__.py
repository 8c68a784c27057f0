"""Readiness from an empty disk: a new store, a connection, verified headers, every address looked at.

A real bitcoind on a private chain, our indexer over it, both on this machine. `python -m benchmarks.wallet`.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from twinlock.chain.address import script_to_address
from twinlock.chain.coins import coin
from twinlock.client.store import SqliteStore
from twinlock.client.wallet import LightWallet, WalletKeys
from twinlock.electrum.view import ChainView
from twinlock.seams import SystemClock, SystemEntropy
from twinlock.simnet import services
from twinlock.simnet.node import Node
from twinlock.simnet.processes import Processes

RUNS = 7
USED = 150
"""Used addresses of the wallet that is restored."""

COIN = coin("btc", "regtest")
RESULT = Path(__file__).parents[1] / "results" / "wallet.json"


async def ready(keys: WalletKeys, server: str, folder: Path) -> dict[str, float]:
    """One start; seconds of it. Deriving the store's key from the password is deliberately slow work of its own."""
    times: dict[str, float] = {}
    start, cpu = time.perf_counter(), time.process_time()
    store = SqliteStore(folder, "correct horse", SystemEntropy())
    times["store"] = time.perf_counter() - start
    async with ChainView(COIN, [server], clock=SystemClock(), entropy=SystemEntropy()) as view:
        await view.tip()
        times["headers"] = time.perf_counter() - start
        async with LightWallet(COIN, view, keys, store, SystemClock()) as wallet:
            assert wallet.scanned
            times["ready"] = time.perf_counter() - start
            times["atoms"] = wallet.balance().total
    times["cpu"] = time.process_time() - cpu
    store.close()
    return times


async def fill(node: Node, keys: WalletKeys) -> None:
    """Pay USED addresses, a tenth of them in each block."""
    scripts = [keys.script((0, index)) for index in range(USED)]
    for start in range(0, USED, USED // 10):
        paid = {script_to_address(COIN, script): "0.001" for script in scripts[start : start + USED // 10]}
        await node.rpc("sendmany", "", paid, wallet="miner")
        await node.mine()


async def measure(folder: Path) -> dict[str, Any]:
    async with Processes(folder / "logs") as processes:
        node = Node("btc", folder / "btc", processes, SystemClock())
        await node.start()
        old = WalletKeys.from_seed(COIN, sha256(b"restored").digest())
        await fill(node, old)
        indexer = services.indexer(node, folder / "index", processes)
        await indexer.start()
        server = f"tcp://127.0.0.1:{indexer.port}"
        result: dict[str, Any] = {"blocks": await node.height(), "used_addresses": USED, "runs": RUNS}
        for name, keys in (("new", WalletKeys.from_seed(COIN, sha256(b"new").digest())), ("restored", old)):
            runs = [await ready(keys, server, folder / f"{name}-{run}") for run in range(RUNS)]
            assert all(run["atoms"] == (0 if name == "new" else USED * 100_000) for run in runs)
            parts = ("store", "headers", "ready", "cpu")
            result[name] = {part: round(statistics.median(run[part] for run in runs), 3) for part in parts}
        return result


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(Path(folder)))
    result["what"] = "seconds from an empty disk, cumulative, median; cpu: of the client's process, the whole run"
    result["python"] = sys.version.split()[0]
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
