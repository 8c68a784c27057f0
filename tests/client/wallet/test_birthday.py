"""A wallet that looks from its birthday on asks for nothing that lies before, says so, and can look further back."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.client.wallet.kit import shows

from twinlock.chain.coins import coin
from twinlock.client.store import MemoryStore
from twinlock.client.wallet import LightWallet, WalletKeys
from twinlock.client.wallet.errors import WalletError
from twinlock.client.wallet.types import Reach
from twinlock.electrum import methods
from twinlock.electrum.headers import WINDOW
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.view import ChainView
from twinlock.seams import SystemClock, SystemEntropy

pytestmark = pytest.mark.anyio

COIN = coin("btc", "regtest")
KEYS = WalletKeys.from_seed(COIN, bytes(range(64)))
OLD, NEW = 70_000, 30_000


class Aged:
    """A chain on which the wallet was paid long ago, and again lately."""

    def __init__(self) -> None:
        chain = SimulatedChain(COIN)
        chain.mine(110)
        chain.pay(KEYS.script((0, 3)), OLD)
        chain.mine(1)
        self.old = chain.height
        chain.mine(WINDOW + 50)
        chain.pay(KEYS.script((0, 4)), NEW)
        chain.mine(1)
        self.new = chain.height
        self.server = SimulatedServer(chain)
        self.store = MemoryStore()

    @asynccontextmanager
    async def wallet(self, birthday: int) -> AsyncIterator[LightWallet]:
        clock = SystemClock()
        view = ChainView(COIN, ["tcp://simulated:1"], clock=clock, entropy=SystemEntropy(), dial=self.server.dial)
        self.server.requests.clear()
        async with view, LightWallet(COIN, view, KEYS, self.store, clock, birthday=birthday) as wallet:
            yield wallet

    def asked(self) -> tuple[int, int, int]:
        """How often for headers, for Merkle branches and for transactions."""
        count = Counter(self.server.requests)
        return tuple(count[each.name] for each in (methods.BLOCK_HEADERS, methods.MERKLE, methods.TRANSACTION))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def aged() -> Aged:
    return Aged()


async def test_nothing_before_the_birthday_is_asked_for_and_a_rescan_brings_it(aged: Aged) -> None:
    aged.store = MemoryStore()
    async with aged.wallet(birthday=0) as wallet:
        assert wallet.balance().available == OLD + NEW
        assert wallet.reach == Reach(birthday=0, older=0, first_block=aged.old)
        assert aged.asked() == (2, 2, 2), "headers of the window, and those down to the old payment"
    async with aged.wallet(birthday=1_000) as wallet:
        assert wallet.balance().available == NEW
        assert wallet.reach == Reach(birthday=1_000, older=1, first_block=aged.new)
        assert aged.asked() == (1, 1, 1)
        assert await wallet.new_address() == KEYS.address(0, 5), "an address that was used is not given out again"
        await wallet.rescan(20, 0)
        assert wallet.balance().available == OLD + NEW
        assert wallet.reach == Reach(birthday=0, older=0, first_block=aged.old)


async def test_what_was_looked_for_stays_until_the_configuration_says_something_else(aged: Aged) -> None:
    aged.store = MemoryStore()
    async with aged.wallet(birthday=1_000) as wallet:
        await wallet.rescan(20, aged.old)
    async with aged.wallet(birthday=1_000) as wallet:
        assert (wallet.reach.birthday, wallet.balance().available) == (aged.old, OLD + NEW)
    async with aged.wallet(birthday=1_001) as wallet:
        assert (wallet.reach.birthday, wallet.balance().available) == (1_001, NEW)


async def test_bonds_and_contracts_are_seen_wherever_they_are() -> None:
    aged = Aged()
    async with aged.wallet(birthday=0) as wallet:
        bond = await wallet.make_bond(20_000, 2_000_000_000, bytes(32), bytes([2]) * 33, 2)
        await wallet.broadcast(bond.signed.raw)
        aged.server.chain.mine(2)
        await shows(wallet, bonded=20_000, available=OLD + NEW - 20_000 - bond.signed.fee)
        await wallet.rescan(20, aged.server.chain.height)
        assert wallet.balance().bonded == 20_000
        with pytest.raises(WalletError) as refused:
            await wallet.rescan(20, aged.server.chain.height + 1)
        assert refused.value.code == "wallet.height"
