"""What happens around a wallet: no server, forgotten transactions, final ones, recovery, hostile corners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest

from twinlock.chain.address import address_to_script
from twinlock.chain.coins import coin
from twinlock.chain.families import family_of
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx, TxIn, TxOut
from twinlock.client.store import MemoryStore
from twinlock.client.wallet import Balance, LightWallet, SwapPurpose, WalletKeys
from twinlock.client.wallet.errors import ScanningError
from twinlock.client.wallet.ledger import PEGOUT_MATURITY, Ledger
from twinlock.client.wallet.light import SWAP
from twinlock.client.wallet.purse import Purse
from twinlock.client.wallet.records import LockRecord, StakeRecord
from twinlock.client.wallet.types import SignedTx
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import ANYONE, SimulatedChain
from twinlock.electrum.states import HistoryEntry
from twinlock.electrum.view import ChainView
from twinlock.seams import SeededEntropy, VirtualClock

pytestmark = pytest.mark.anyio

COIN = coin("btc", "regtest")
MATCH = sha256(b"match").digest()
SECRET = bytes(range(32))


class Rig:
    """A wallet over a simulated chain; time passes when told."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.chain = SimulatedChain(COIN)
        self.chain.mine(140)
        self.server = SimulatedServer(self.chain)
        self.store = MemoryStore()
        self.keys = WalletKeys.from_seed(COIN, bytes(range(32)))

    @asynccontextmanager
    async def wallet(self) -> AsyncIterator[LightWallet]:
        async with ChainView(
            COIN, ["tcp://simulated:1"], clock=self.clock, entropy=SeededEntropy(1), dial=self.server.dial
        ) as view:
            wallet = LightWallet(COIN, view, self.keys, self.store, self.clock)
            entering = asyncio.ensure_future(wallet.__aenter__())
            await self.until(entering.done)
            try:
                yield await entering
            finally:
                await wallet.__aexit__(None, None, None)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let time pass until something holds, five minutes at most."""
        for _ in range(1200):
            if holds():
                return
            await self.clock.advance(0.25)
        assert holds()

    async def shows(self, wallet: LightWallet, **sums: int) -> None:
        await self.until(lambda: wallet.balance() == Balance(**sums))

    async def fund(self, wallet: LightWallet, value: int) -> None:
        self.chain.pay(address_to_script(COIN, await wallet.new_address()), value)
        self.chain.mine()
        await self.shows(wallet, available=value)

    async def swap(self, wallet: LightWallet) -> tuple[bytes, bytes]:
        """A contract of 100,000 atoms in the mempool: its coin ID and its bytes."""
        addresses = wallet.swap_address(MATCH), wallet.swap_address(MATCH, SwapPurpose.REFUND)
        contract = family_of(COIN).make_contract(*addresses, sha256(SECRET).digest(), self.chain.median_time() - 5)
        coins = [coin.coin_id for coin in wallet.fund(100_000, 1, 10, reference="order").coins]
        swap = await wallet.sign_swap(coins, [(MATCH, contract, 100_000)], 2)
        await wallet.broadcast(swap.raw)
        return swap.outputs[0], contract


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_without_a_server_the_wallet_opens_and_spends_nothing_until_it_has_looked(rig: Rig) -> None:
    async with rig.wallet() as wallet:
        await rig.fund(wallet, 500_000)
    rig.server.down = True
    async with rig.wallet() as wallet:
        assert not wallet.scanned
        for spending in (wallet.send("", 1, 1), wallet.new_address()):
            with pytest.raises(Exception) as refused:
                await spending
            assert refused.value.args
        with pytest.raises(ScanningError):
            wallet.fund(1000, 1, 1, reference="order")
        rig.server.down = False
        await rig.until(lambda: wallet.scanned)
        assert wallet.balance() == Balance(available=500_000)


async def test_a_transaction_that_the_network_forgot_is_sent_again_with_the_next_block(rig: Rig) -> None:
    async with rig.wallet() as wallet:
        await rig.fund(wallet, 500_000)
        signed = await wallet.send(await wallet.new_address(), 200_000, 2)
        await wallet.broadcast(signed.raw)
        await rig.shows(wallet, available=500_000 - signed.fee)
        rig.chain.forget(signed.txid)
        await rig.shows(wallet, locked=500_000)
        rig.chain.mine(empty=True)
        await rig.until(lambda: signed.txid in rig.chain.mempool)
        await rig.shows(wallet, available=500_000 - signed.fee)


async def test_what_is_spent_for_good_is_tidied_away(rig: Rig) -> None:
    async with rig.wallet() as wallet:
        await rig.fund(wallet, 500_000)
        coin_id, contract = await rig.swap(wallet)
        rig.chain.mine()
        redeem = await wallet.sign_redeem(MATCH, contract, coin_id, 100_000, SECRET, 2)
        await wallet.broadcast(redeem.raw)
        rig.chain.mine(5)
        await rig.until(lambda: wallet.history()[-1].height == rig.chain.height - 4)
        (stake,) = rig.store.all(StakeRecord)
        assert not stake.closed
        rig.chain.mine()
        await rig.until(lambda: rig.store.all(StakeRecord)[0].closed)
        assert rig.store.all(LockRecord) == []
        balance = wallet.balance()
        assert balance.total == balance.available
    async with rig.wallet() as wallet:
        assert wallet.balance() == balance


async def test_what_the_other_side_redeemed_is_gone_after_a_restart_too(rig: Rig) -> None:
    async with rig.wallet() as wallet:
        await rig.fund(wallet, 500_000)
        coin_id, _ = await rig.swap(wallet)
        rig.chain.mine()
        await rig.until(lambda: wallet.balance().in_swap == 100_000)
        point = family_of(COIN).parse_coin_id(coin_id)
        theirs = Tx(2, (TxIn(point.tx_hash, point.index),), (TxOut(99_000, ANYONE),))
        rig.chain.submit(theirs.serialize())
        rig.chain.mine(5)
        await rig.until(lambda: wallet.balance().in_swap == 0)
        rig.chain.mine()
        await rig.until(lambda: rig.store.all(StakeRecord)[0].closed)
        balance = wallet.balance()
        assert balance.total == balance.available < 400_000
    async with rig.wallet() as wallet:
        await rig.until(lambda: wallet.scanned)
        assert wallet.balance() == balance


async def test_a_reorg_under_a_swap_brings_the_stake_back(rig: Rig) -> None:
    async with rig.wallet() as wallet:
        await rig.fund(wallet, 500_000)
        coin_id, contract = await rig.swap(wallet)
        rig.chain.mine(2)
        refund = await wallet.sign_refund(MATCH, contract, coin_id, 100_000, 2)
        await wallet.broadcast(refund.raw)
        rig.chain.mine()
        await rig.until(lambda: wallet.balance().in_swap == 0)
        rig.chain.reorg(1, 2, drop=(refund.txid,))
        await rig.until(lambda: refund.txid in rig.chain.mempool)
        rig.chain.mine()
        await rig.until(lambda: wallet.balance().in_swap == 0)
        fees = sum(payment.fee or 0 for payment in wallet.history())
        assert wallet.balance() == Balance(available=500_000 - fees)


async def test_a_swap_found_while_recovering_is_told_to_the_wallet(rig: Rig) -> None:
    async with rig.wallet() as wallet:
        await rig.fund(wallet, 500_000)
        coin_id, contract = await rig.swap(wallet)
        rig.chain.mine()
        await rig.until(lambda: wallet.balance().in_swap == 100_000)
        balance = wallet.balance()
    rig.store = MemoryStore()
    async with rig.wallet() as wallet:
        assert wallet.balance().in_swap == 0
        wallet.add_stake(coin_id, "swap", contract, 5, MATCH.hex())
        await rig.until(lambda: wallet.balance() == balance)
        refund = await wallet.sign_refund(MATCH, contract, coin_id, 100_000, 2)
        await wallet.broadcast(refund.raw)
        await rig.until(lambda: wallet.balance().in_swap == 0)


async def test_repeating_a_signature_gives_other_bytes_only_for_other_arguments(rig: Rig) -> None:
    async with rig.wallet() as wallet:
        await rig.fund(wallet, 500_000)
        coin_id, contract = await rig.swap(wallet)
        first = await wallet.sign_refund(MATCH, contract, coin_id, 100_000, 2)
        dearer = await wallet.sign_refund(MATCH, contract, coin_id, 100_000, 9)
        assert first.fee < dearer.fee
        assert Tx.parse(first.raw).inputs[0].point == Tx.parse(dearer.raw).inputs[0].point


def test_what_left_litecoins_extension_ripens_after_six_blocks() -> None:
    litecoin = coin("ltc", "regtest")
    ledger = Ledger(litecoin)
    script = b"\x00\x14" + bytes(20)
    ledger.own(script, (0, 0), "address")
    hogex = Tx(2, (TxIn(b"\x01" * 32, 0),), (TxOut(0, b"\x58\x20" + bytes(32)), TxOut(9_000, script)), 0, b"\0")
    ledger.update(script, [HistoryEntry(hogex.txid, 100)], {hogex.txid: hogex})
    ledger.tip_height = 100 + PEGOUT_MATURITY - 2
    assert ledger.balance() == Balance(immature=9_000)
    ledger.tip_height += 1
    assert ledger.balance() == Balance(available=9_000)
    assert ledger.coins()[0].point == CoinPoint(hogex.hash, 1)


async def test_addresses_never_run_further_ahead_than_a_restore_would_look() -> None:
    async with Rig().wallet() as wallet:
        given = [await wallet.new_address() for _ in range(21)]
        assert len(set(given)) == 20
        assert given[20] == given[0]


async def test_what_was_broadcast_stays_so_when_it_is_kept_again() -> None:
    rig = Rig()
    async with ChainView(
        COIN, ["tcp://simulated:1"], clock=rig.clock, entropy=SeededEntropy(1), dial=rig.server.dial
    ) as view:
        purse = Purse(COIN, view, rig.keys, rig.store, rig.clock, gap_limit=20)
        signed = SignedTx("ab" * 32, b"bytes", 10, (), ())
        purse.keep(signed, SWAP, None)
        assert purse.unsent(SWAP) == (signed.txid,)
        purse.sent(signed.txid)
        purse.keep(signed, SWAP, None)
        assert purse.unsent(SWAP) == ()
