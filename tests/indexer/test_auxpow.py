"""Coins that are mined together with another: the whole way from a node's blocks to a wallet's answers."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.indexer import auxpow
from tests.indexer.chains import Block, transaction
from tests.indexer.wire import Wallet
from tests.kernels.test_scan import real_block

from twinlock.chain.coins import coin
from twinlock.indexer.controller import Controller
from twinlock.indexer.env import Env, Service
from twinlock.indexer.storage.disk import MemoryDisk
from twinlock.indexer.storage.memory import MemoryStorage
from twinlock.indexer.storage.segments import SegmentStorage
from twinlock.kernels.scan import INPUT, OUTPUT, Scan, hashx, scan_block, sha256d
from twinlock.seams import SeededEntropy, SystemClock
from twinlock.simnet.ports import free_ports
from twinlock.simnet.simulated_node import SimulatedNode

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "electrum-vectors.json").read_text())
SCRIPT = b"\x51\x99"
NAME = sha256(SCRIPT).digest()[::-1].hex()


def test_the_first_block_is_dogecoins() -> None:
    assert auxpow.genesis().hash[::-1].hex() == coin("doge", "regtest").genesis_hash


AT_HAND = [case for case in VECTORS["auxpow"]["cases"] if case["height"] != 19200]
"""Of the others the vectors have the facts but nobody has the block."""


@pytest.mark.parametrize("case", AT_HAND, ids=lambda case: f"{case['name']}-{case['height']}")
def test_real_blocks_have_headers_of_their_own_length(case: dict[str, Any]) -> None:
    block = real_block(f"{case['name']}_{case['height']}")
    scan = scan_block(bytes.fromhex(block["block"]), True)
    assert len(scan.header) == case["header_total_bytes"]
    assert scan.header[:80].hex() == case["header_80"]
    assert sha256d(scan.header[:80])[::-1].hex() == block["hash"] == case["block_hash"]
    assert scan.tx_count == case["tx_count"] == len(block["tx"])


@pytest.mark.parametrize("name", ["dogecoin_mainnet_371337", "namecoin_mainnet_19204"])
def test_real_blocks_go_through_the_index(name: str) -> None:
    """Each on a block that makes the coins which it spends: what the index then tells is what the block says."""
    block = real_block(name)
    raw = bytes.fromhex(block["block"])
    scan = scan_block(raw, True)
    storage, oracle = SegmentStorage(MemoryDisk(), "chain", 10), MemoryStorage()
    for each in (storage, oracle):
        each.append(bytes(32), scan_block(auxpow.genesis().raw))
    own = {scan.txids[at : at + 32] for at in range(0, len(scan.txids), 32)}
    points = [point[:2] for point in INPUT.iter_unpack(scan.inputs)]
    funding = funding_scan([point for point in points if point[0] not in own])
    for each in (storage, oracle):
        each.append(sha256d(funding.header), funding)
        each.append(sha256d(scan.header[:80]), scan)
    assert storage.header(2) == scan.header
    assert storage.block_hash(2)[::-1].hex() == block["hash"]
    for _, _, _, script in OUTPUT.iter_unpack(scan.outputs):
        assert storage.history(script) == oracle.history(script)
        assert storage.unspent(script) == oracle.unspent(script)


def funding_scan(points: list[tuple[bytes, int]]) -> Scan:
    """What a block would say that makes these coins."""
    hashes = sorted({tx_hash for tx_hash, _ in points})
    outputs = [OUTPUT.pack(hashes.index(tx_hash), vout, 1000, hashx(tx_hash)) for tx_hash, vout in sorted(points)]
    offsets = struct.pack(f"<{len(hashes) + 1}I", *range(len(hashes) + 1))
    return Scan(bytes(80), b"".join(hashes), offsets, b"".join(outputs), b"")


def test_a_bulk_build_keeps_headers_of_every_length() -> None:
    blocks = auxpow.chain(40, SCRIPT)
    storage = SegmentStorage(MemoryDisk(), "chain", 10)
    bulk = storage.bulk(SeededEntropy(1), auxpow=True)
    for block in blocks:
        bulk.add(block.raw)
    storage.adopt(bulk)
    for height, block in enumerate(blocks):
        assert storage.header(height) == scan_block(block.raw, True).header
        assert storage.block_hash(height) == block.hash


@asynccontextmanager
async def serving(node: SimulatedNode, folder: Path, **settings: Any) -> AsyncIterator[tuple[Controller, int]]:
    """An indexer of Dogecoin's regtest on the node."""
    (port,) = free_ports(1)
    env = Env(
        coin="doge",
        network="regtest",
        daemon_url=node.url,
        data_dir=folder,
        services=(Service("tcp", "127.0.0.1", port),),
        poll_ms=20,
        **settings,
    )
    controller = Controller(env, SystemClock(), SeededEntropy(1))
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(controller.run(ready.set_result))
    try:
        await asyncio.wait((task, ready), timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield controller, port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def at_height(wallet: Wallet, height: int) -> None:
    for _ in range(400):
        if (await wallet.call("blockchain.headers.get_tip"))["height"] == height:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"the indexer does not reach {height}")


@pytest.mark.anyio
@pytest.mark.parametrize("rest", [True, False], ids=["rest", "rpc"])
async def test_a_live_chain_is_synced_served_and_followed(rest: bool, tmp_path: Path) -> None:
    blocks = auxpow.chain(160, SCRIPT)
    async with SimulatedNode([b.raw for b in blocks], auxpow=True, rest=rest) as node:
        async with serving(node, tmp_path, reorg_limit=20) as (controller, port):
            wallet = await Wallet.connect(port, "1.6")
            await at_height(wallet, 159)
            assert len(controller.storage.segments) < 60, "the first sync built a run"
            await check_headers(wallet, blocks)
            await check_scripts(wallet, blocks)
            parent = transaction([(sha256d_of_coinbase(blocks[-1]), 0)], [(7, b"\x52\x63")])
            node.receive(parent.hex())
            coinbase = transaction([(bytes(32), 0xFFFFFFFF)], [(5, SCRIPT)], b"new!")
            branch = [auxpow.merged(blocks[-3].hash, 158, [coinbase], salt=9)]
            branch.append(auxpow.merged(branch[0].hash, 159, [coinbase[:-4] + b"\1\0\0\0"], salt=9))
            branch.append(auxpow.merged(branch[1].hash, 160, [coinbase[:-4] + b"\2\0\0\0"], salt=9))
            node.mempool.clear()
            node.replace(2, [b.raw for b in branch])
            await at_height(wallet, 160)
            blocks[-2:] = branch
            await check_headers(wallet, blocks)
            await check_scripts(wallet, blocks)
            wallet.close()
        async with serving(node, tmp_path, reorg_limit=20) as (_, port):
            wallet = await Wallet.connect(port, "1.4.2")
            await check_scripts(wallet, blocks)
            wallet.close()


def sha256d_of_coinbase(block: Block) -> bytes:
    return bytes(scan_block(block.raw, True).txids[:32])


async def check_headers(wallet: Wallet, blocks: list[Block]) -> None:
    headers = [scan_block(block.raw, True).header for block in blocks]
    answer = await wallet.call("blockchain.block.headers", 100, 30)
    assert answer["headers"] == [header.hex() for header in headers[100:130]]
    for height in (99, 100, 155):
        assert await wallet.call("blockchain.block.header", height) == headers[height].hex()


async def check_scripts(wallet: Wallet, blocks: list[Block]) -> None:
    oracle = MemoryStorage()
    for block in blocks:
        oracle.append(block.hash, scan_block(block.raw, True))
    history = await wallet.call("blockchain.scripthash.get_history", NAME)
    assert [(row["tx_hash"], row["height"]) for row in history] == [
        (tx_hash[::-1].hex(), height) for tx_hash, height in oracle.history(hashx(SCRIPT))
    ]
    balance = await wallet.call("blockchain.scripthash.get_balance", NAME)
    assert balance["confirmed"] == oracle.balance(hashx(SCRIPT))
    proof = await wallet.call("blockchain.transaction.get_merkle", history[5]["tx_hash"], history[5]["height"])
    assert proof["pos"] in (0, 1)
    raw = await wallet.call("blockchain.transaction.get", history[5]["tx_hash"])
    assert sha256d(bytes.fromhex(raw))[::-1].hex() == history[5]["tx_hash"]


@pytest.mark.anyio
@pytest.mark.parametrize(("version", "whole"), [("1.4", True), ("1.4.1", False), ("1.4.3", False), ("1.6", False)])
async def test_the_proof_of_work_is_left_out_under_a_checkpoint_from_141_on(
    version: str, whole: bool, tmp_path: Path
) -> None:
    blocks = auxpow.chain(30, SCRIPT)
    headers = [scan_block(block.raw, True).header for block in blocks]
    async with SimulatedNode([b.raw for b in blocks], auxpow=True) as node, serving(node, tmp_path) as (_, port):
        wallet = await Wallet.connect(port, version)
        await at_height(wallet, 29)
        end = None if whole else 80
        assert (await wallet.call("blockchain.block.header", 7, 0)) == headers[7].hex(), "never without a checkpoint"
        assert (await wallet.call("blockchain.block.header", 7, 20))["header"] == headers[7][:end].hex()
        answer = await wallet.call("blockchain.block.headers", 5, 6, 20)
        shown = [header[:end].hex() for header in headers[5:11]]
        assert answer.get("headers", shown) == shown
        assert answer.get("hex", "".join(shown)) == "".join(shown)
        wallet.close()
