"""A world that tests make: a chain, a mempool and a node that says what real ones say, with the sessions over them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.indexer.chains import Block, Coin, extend, scripts_of

from twinlock.indexer.block_files import BlockFiles
from twinlock.indexer.daemon import DaemonError
from twinlock.indexer.env import Env, Service
from twinlock.indexer.mempool import Found, Mempool
from twinlock.indexer.sessions import SessionManager
from twinlock.indexer.shared import Shared
from twinlock.indexer.storage.disk import MemoryDisk
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.indexer.view import View
from twinlock.kernels.scan import scan_block, scan_tx
from twinlock.seams import Clock, SystemClock
from twinlock.simnet.ports import free_ports

SCRIPT = scripts_of(12)[4]


def name(script: bytes) -> str:
    return sha256(script).digest()[::-1].hex()


class FakeNode:
    """A node that knows some transactions, and says of all others what real ones say."""

    def __init__(self) -> None:
        self.txs: dict[str, str] = {}
        self.heights: dict[str, int] = {}
        self.estimate: dict[str, Any] = {"errors": ["Insufficient data"]}
        self.stuck: asyncio.Event | None = None  # what is sent waits for it

    async def call(self, method: str, /, *params: Any) -> Any:
        if method == "sendrawtransaction":
            if self.stuck:
                await self.stuck.wait()
            raise DaemonError(-26, "min relay fee not met, 0 < 141")
        if method == "submitpackage":
            rows = {"w1": {"txid": "aa", "error": "too low"}, "w2": {"txid": "bb"}}
            return {"package_msg": "transaction failed", "tx-results": rows}
        if method == "getblockheader" and params[0] in self.heights:
            return {"height": self.heights[params[0]]}
        if method == "estimatesmartfee":
            return self.estimate
        if method == "getmempoolinfo":
            return {"mempoolminfee": 0.00001, "minrelaytxfee": 0.00001, "size": 1}
        if method == "getnetworkinfo":
            return {"relayfee": 0.00001}
        if method == "getrawtransaction" and params[0] in self.txs:
            return self.txs[params[0]]
        raise DaemonError(-5, "No such mempool or blockchain transaction")

    async def raw(self, method: str, /, *params: Any) -> bytes:
        return json.dumps(await self.call(method, *params)).encode()


class World:
    """A chain that tests extend, served on a loopback port."""

    def __init__(self, **settings: Any) -> None:
        self.port = free_ports(1)[0]
        clock: Clock = settings.pop("clock", SystemClock())
        env = Env(**{"network": "regtest", "data_dir": Path(), **settings})
        self.storage = SegmentStorage(MemoryDisk(), "chain", 50)
        self.mempool = Mempool(self.storage)
        self.node = FakeNode()
        self.view = View(self.storage, self.mempool, BlockFiles(b"\xfa\xbf\xb5\xda"))
        self.shared = Shared(env, self.view, self.node, self, clock)
        self.manager = SessionManager(self.shared)
        self.blocks: list[Block] = []
        self.coins: list[Coin] = []
        self.rnd = random.Random(3)
        for _ in range(12):
            self.grow()

    async def take_in(self, txid: str) -> None:
        """The node of this world takes nothing."""

    async def refresh(self) -> None:
        """Nor does anything happen to it by itself."""

    def add(self, new: Block) -> None:
        self.blocks.append(new)
        touched = self.storage.append(new.hash, scan_block(new.raw))
        scripts = touched.scripts | self.mempool.confirm(touched)
        self.view.touch(scripts)
        self.manager.notify(scripts, tip=True)

    def grow(self) -> None:
        self.add(extend(self.rnd, self.blocks, self.coins, 8))

    def receive(self, raw: bytes) -> str:
        """Take a transaction into the mempool."""
        tx = scan_tx(raw)
        scripts = self.mempool.add({tx.hash: Found(tx)})
        self.view.touch(scripts)
        self.manager.notify(scripts)
        return tx.hash[::-1].hex()


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    made = World(**settings)
    await made.manager.listen([Service("tcp", "127.0.0.1", made.port)])
    try:
        yield made
    finally:
        await made.manager.close()
