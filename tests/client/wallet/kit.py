"""Wallets of every kind over any world, and what tests ask of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

from tests.electrum.worlds import PATIENCE_S, RealWorld, World

from twinlock.chain.address import address_to_script
from twinlock.chain.bip32 import HDKey, bip84_account
from twinlock.chain.descriptor import Descriptor
from twinlock.chain.psbt import Origin
from twinlock.client.store import MemoryStore
from twinlock.client.wallet import Balance, LightWallet, Payment, WalletKeys
from twinlock.client.wallet.node import NodeWallet
from twinlock.client.wallet.node_rpc import NodeRpc
from twinlock.electrum.view import ChainView
from twinlock.seams import SystemClock

_seeds = itertools.count(1)


class Kit:
    """kind: light, cold or node, the last in real worlds only."""

    def __init__(self, world: World, view: ChainView, kind: str, folder: Path) -> None:
        self.world = world
        self.view = view
        self.kind = kind
        self._folder = folder
        self._roots: dict[WalletKeys, HDKey] = {}
        self._node_wallets: dict[WalletKeys, str] = {}

    @property
    def payout(self) -> str:
        """Where a balance shows what came back from a contract or bond."""
        return "outside" if self.kind == "cold" else "available"

    def keys(self) -> WalletKeys:
        """Of a seed that nobody had before."""
        seed = sha256(f"{self.world.coin.symbol} {self.kind} {next(_seeds)}".encode()).digest()
        if self.kind != "cold":
            return WalletKeys.from_seed(self.world.coin, seed, accounts=self.kind != "node")
        root = HDKey.from_seed(sha256(b"cold " + seed).digest())
        path = bip84_account(self.world.coin)
        account = Descriptor("wpkh", root.derive(path).neuter(), Origin(root.fingerprint, tuple(path)))
        keys = WalletKeys.from_seed(self.world.coin, seed, account)
        self._roots[keys] = root
        return keys

    def cold_root(self, keys: WalletKeys) -> HDKey:
        """What the hardware wallet holds."""
        return self._roots[keys]

    async def wallet(self, keys: WalletKeys | None = None, store: MemoryStore | None = None) -> LightWallet:
        """Not entered yet."""
        keys, store = keys or self.keys(), store or MemoryStore()
        if self.kind != "node":
            return LightWallet(self.world.coin, self.view, keys, store, SystemClock())
        rpc = NodeRpc(await self._node_wallet(keys), self._folder / "secret")
        return NodeWallet(self.world.coin, self.view, keys, store, SystemClock(), rpc, poll=0.1)

    async def receive(self, wallet: LightWallet) -> str:
        """A fresh address whose coins the wallet can spend by itself."""
        return await wallet.deposit_address()

    async def fund(self, wallet: LightWallet, *values: int) -> None:
        """Confirmed coins of these values, in a wallet that had none."""
        for value in values:
            await self.world.pay(address_to_script(self.world.coin, await self.receive(wallet)), value)
        await self.world.mine()
        await shows(wallet, available=sum(values))

    def sums(self, available: int, back: int) -> dict[str, int]:
        """The balance's members for what never left and what came back."""
        sums = {"available": available}
        sums[self.payout] = sums.get(self.payout, 0) + back
        return sums

    async def _node_wallet(self, keys: WalletKeys) -> str:
        assert isinstance(self.world, RealWorld), "nodes are real"
        node = self.world.node
        if keys not in self._node_wallets:
            user, password = node.url.split("//")[1].split("@")[0].split(":")
            (self._folder / "secret").write_text(f"{user}:{password}\n")
            self._node_wallets[keys] = f"trading-{next(_seeds)}"
            await node.rpc("createwallet", self._node_wallets[keys])
        return f"http://127.0.0.1:{node.port}/wallet/{self._node_wallets[keys]}"


async def shows(wallet: LightWallet, **sums: int) -> None:
    """Wait until the balance is exactly this; what is not named is zero."""
    wanted = Balance(**sums)
    last = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for last in wallet.changes():
                if last == wanted:
                    return
    except TimeoutError:
        raise AssertionError(f"{last} is not {wanted}") from None


def history_of(wallet: LightWallet) -> Callable[[], Awaitable[tuple[Payment, ...]]]:
    async def look() -> tuple[Payment, ...]:
        return wallet.history()

    return look
