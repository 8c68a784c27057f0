"""A wallet library that others wrote on our indexer, over TCP and SSL: full scan, broadcast, sync, reorganisation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import bdkpython as bdk
import pytest
from tests.indexer.test_on_nodes import settled

from twinlock.indexer.controller import Controller
from twinlock.indexer.env import Env, Service
from twinlock.seams import SystemClock, SystemEntropy
from twinlock.simnet.node import Node
from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import Processes

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]


def new_wallet() -> bdk.Wallet:
    key = bdk.DescriptorSecretKey(bdk.NetworkKind.TEST, bdk.Mnemonic(bdk.WordCount.WORDS12), None)
    chains = (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL)
    outside, inside = (bdk.Descriptor.new_bip84(key, chain, bdk.NetworkKind.TEST) for chain in chains)
    return bdk.Wallet(outside, inside, bdk.Network.REGTEST, bdk.Persister.new_in_memory())


async def test_bdk_scans_pays_and_syncs(program: Callable[[str], Path], tmp_path: Path) -> None:
    program("bitcoind")
    async with Processes(tmp_path / "logs") as processes:
        node = Node("btc", tmp_path / "node", processes)
        await node.start()
        tcp, ssl = free_ports(2)
        env = Env(
            coin="btc",
            network="regtest",
            daemon_url=node.url,
            data_dir=tmp_path / "index",
            services=(Service("tcp", "127.0.0.1", tcp), Service("ssl", "127.0.0.1", ssl)),
        )
        controller = Controller(env, SystemClock(), SystemEntropy())
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(controller.run(ready.set_result))
        await asyncio.wait_for(ready, 30)
        try:
            for url in (f"tcp://127.0.0.1:{tcp}", f"ssl://127.0.0.1:{ssl}"):
                await live(url, node, controller)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def live(url: str, node: Node, controller: Controller) -> None:
    """The library waits for answers with its thread, so it gets one of its own."""
    client = await asyncio.to_thread(bdk.ElectrumClient, url, validate_domain=False)
    wallet = new_wallet()
    for _ in range(3):
        await node.fund(str(wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL).address), 50_000_000)
    await node.mine()
    await settled(controller, node)
    wallet.apply_update(await asyncio.to_thread(client.full_scan, wallet.start_full_scan().build(), 20, 10, False))
    assert wallet.balance().confirmed.to_sat() == 150_000_000
    target = await node.rpc("getnewaddress")
    script = bdk.Address(target, bdk.Network.REGTEST).script_pubkey()
    payment = bdk.TxBuilder().add_recipient(script, bdk.Amount.from_sat(70_000_000))
    psbt = payment.fee_rate(bdk.FeeRate.from_sat_per_vb(3)).finish(wallet)
    assert wallet.sign(psbt)
    txid = str(await asyncio.to_thread(client.transaction_broadcast, psbt.extract_tx()))
    assert await node.mempool() == [txid]
    for confirmed in (False, True, False, True):
        if confirmed:
            await node.mine()
        elif len(wallet.transactions()) == 4:  # empty blocks take the place of the one that confirmed it
            await node.invalidate(await node.rpc("getbestblockhash"))
            for _ in range(2):
                await node.rpc("generateblock", target, [])
        await settled(controller, node)
        update = wallet.start_sync_with_revealed_spks().build()
        wallet.apply_update(await asyncio.to_thread(client.sync, update, 10, False))
        assert len(wallet.transactions()) == 4
        assert (wallet.balance().trusted_pending.to_sat() == 0) is confirmed
    assert wallet.balance().total.to_sat() == 80_000_000 - await node.fee(txid)
