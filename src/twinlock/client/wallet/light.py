"""The light wallet of one coin: what it holds, and what it signs for the exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType

import msgspec

from twinlock.chain import presigned, spend
from twinlock.chain.bond import BondScript
from twinlock.chain.coins import Coin
from twinlock.chain.contract import SwapContract
from twinlock.chain.keys import PrivateKey
from twinlock.chain.spend import Input
from twinlock.chain.tx import TxOut
from twinlock.client.store.base import Store
from twinlock.client.wallet.keys import SwapPurpose, Use, WalletKeys
from twinlock.client.wallet.payments import REPLACEABLE, Payments
from twinlock.client.wallet.purse import Place, Purse
from twinlock.client.wallet.scanner import WalletView
from twinlock.client.wallet.selection import KEY_INPUT
from twinlock.client.wallet.types import (
    Balance,
    BondDraft,
    Funding,
    Payment,
    Reach,
    SignedTx,
    Stake,
    StakeKind,
    WalletCoin,
)
from twinlock.electrum.timing import within
from twinlock.protocol.constants import MAX_COINS
from twinlock.seams import Clock

GAP_LIMIT = 20
"""Addresses watched beyond the last used one (BIP 44)."""

ENTRY_S = 15.0
"""Seconds that entering the context waits for the first look at the chain; without servers it goes on without."""

SHOWN_S = 5.0
"""Seconds that somebody who paid waits at most until the history tells of it, so that what is asked next fits."""

BOND, SPLIT, SWAP = "bond", "split", "swap"
"""What a transaction is signed for."""

Ladder = tuple[presigned.Rung, ...]


class LightWallet(Payments):
    """A BIP 84 wallet that sees its chain through a `ChainView`. Use as a context; it is ready at entry.

    Methods that sign store what they sign and lock what it spends before they return, and never broadcast. Amounts
    are atoms, fee rates atoms per vbyte, coin IDs those of the exchange. birthday: height below which the chain is not
    looked at. purse: another one for another kind of wallet.
    """

    def __init__(
        self,
        coin: Coin,
        view: WalletView,
        keys: WalletKeys,
        store: Store,
        clock: Clock,
        *,
        gap_limit: int = GAP_LIMIT,
        birthday: int = 0,
        purse: Purse | None = None,
    ) -> None:
        super().__init__(coin, view, keys, purse or Purse(coin, view, keys, store, clock, gap_limit, birthday))
        self._clock = clock

    async def __aenter__(self) -> LightWallet:
        self._purse.start()
        # Without a server the scan simply goes on, and `scanned` tells when it is done.
        with suppress(TimeoutError):
            await within(self._clock, ENTRY_S, self._purse.until_scanned())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._purse.stop()

    # What is there -------------------------------------------------------------------------------------

    @property
    def scanned(self) -> bool:
        """Every address was looked at, so the balance is complete. Before that, nothing can be spent."""
        return self._purse.scanner.complete

    def require_scanned(self) -> None:
        """Raises ScanningError while something may be missing."""
        self._purse.require_scanned()

    @property
    def reach(self) -> Reach:
        """How far back the wallet looks, and what it knows to lie before that."""
        older = {txid for txids in self._purse.scanner.older.values() for txid in txids}
        heights = [payment.height for payment in self.history() if payment.height]
        return Reach(self._purse.birthday, len(older), min(heights, default=0))

    def balance(self) -> Balance:
        """Every atom of ours, by what it is good for."""
        return self._purse.ledger.balance()

    def coins(self) -> tuple[WalletCoin, ...]:
        """Our unspent outputs, oldest first."""
        return tuple(self._purse.ledger.wallet_coin(coin) for coin in self._purse.ledger.coins())

    def stakes(self) -> tuple[Stake, ...]:
        """Our money in contracts and bonds."""
        return tuple(self._purse.ledger.stakes())

    def history(self) -> tuple[Payment, ...]:
        """Every transaction of ours, oldest first, the mempool's last."""
        return tuple(self._purse.ledger.payments(self._purse.scanner.times, self._purse.journal.labels()))

    async def shown(self, txid: str) -> bool:
        """Whether the history tells of a transaction that was broadcast; waited for, but not for ever."""
        with suppress(TimeoutError):
            await within(self._clock, SHOWN_S, self._until_known(txid))
        return self._purse.ledger.knows(txid)

    async def _until_known(self, txid: str) -> None:
        while not self._purse.ledger.knows(txid):
            await self._purse.scanner.news()

    async def changes(self) -> AsyncIterator[Balance]:
        """The balance once it is complete, then after each change."""
        seen: Balance | None = None
        while True:
            if self.scanned and (balance := self.balance()) != seen:
                seen = balance
                yield balance
            else:
                await self._purse.scanner.news()

    async def new_address(self) -> str:
        """A receive address that was never given out, watched from now on.

        At most `gap_limit` addresses in a row stay unused, as a wallet restored from the seed looks no further:
        beyond that the oldest unused one is given out again.
        """
        return await self._new_address(Use.RECEIVE)

    async def deposit_address(self) -> str:
        """A fresh address whose coins this wallet can trade with by itself; of cold wallets another than the above."""
        return await self._new_address(Use.DEPOSIT)

    async def new_taproot_address(self) -> str:
        """The same of Taproot (BIP 86). What it receives can be sent and split, but cannot fund an order itself."""
        return await self._new_address(Use.TAPROOT)

    # Orders --------------------------------------------------------------------------------------------

    def fund(self, value: int, lots: int, max_fee_rate: int, *, reference: str, coins: Sequence[bytes] = ()) -> Funding:
        """Lock coins that cover an order (protocol section 5.8): the cheapest choice, or all of `coins`.

        Raises ShortFundsError, TooManyCoinsError, UnknownCoinError.
        """
        plan = self.plan(value, lots, max_fee_rate, coins=coins)
        self._purse.lock([coin.coin_id for coin in plan.coins], reference)
        locked = (msgspec.structs.replace(coin, state="locked", locked_for=reference) for coin in plan.coins)
        return msgspec.structs.replace(plan, coins=tuple(locked))

    def plan(self, value: int, lots: int, max_fee_rate: int, *, coins: Sequence[bytes] = ()) -> Funding:
        """What `fund` would lock now, without locking it. Raises what `fund` raises."""
        target = self._family.required_funds(value, lots, 0, max_fee_rate)
        fundable = self._purse.fundable(coins)
        chosen = self._purse.choose(target, max_fee_rate, fundable, all_of=bool(coins), most=MAX_COINS)
        taken = tuple(self._purse.ledger.wallet_coin(coin) for coin in chosen)
        return Funding(taken, target + len(chosen) * KEY_INPUT * max_fee_rate)

    async def fund_splits(
        self, asks: Sequence[tuple[int, int, str]], max_fee_rate: int, fee_rate: int
    ) -> tuple[Funding, ...]:
        """The same for orders, (value, lots, reference) each, out of one transaction with a coin for each.

        Each coin is of exactly the sum that is required. Raises ShortFundsError. Broadcast the split before the orders
        are sent.
        """
        required = [self._family.required_funds(value, lots, KEY_INPUT, max_fee_rate) for value, lots, _ in asks]
        places: list[Place] = []
        for _ in asks:
            places.append(await self._purse.fresh(Use.CHANGE))
            self._purse.take(places[-1])
        outputs = [TxOut(atoms, place.script) for atoms, place in zip(required, places, strict=True)]
        signed = await self._pay(outputs, fee_rate, SPLIT)
        made = []
        for coin_id, atoms, place, (_, _, reference) in zip(signed.outputs, required, places, asks, strict=True):
            self.lock([coin_id], reference)
            coin = WalletCoin(coin_id, atoms, place.address, None, "locked", reference)
            made.append(Funding((coin,), atoms, signed))
        return tuple(made)

    async def coin_proof(self, coin_id: bytes) -> tuple[list[bytes], list[bytes], bytes]:
        """(public keys, signatures, redeem script) for an order's `coins` (protocol section 5.6)."""
        pubkeys, sigs = await self._purse.proof(coin_id)
        return pubkeys, sigs, b""

    def lock(self, coin_ids: Sequence[bytes], reference: str) -> None:
        """Set coins aside, also such as are not there yet."""
        self._purse.lock(coin_ids, reference)

    def unlock(self, coin_ids: Sequence[bytes]) -> None:
        """Give coins back. Those that are spent, or that a signed transaction of ours spends, stay as they are."""
        self._purse.unlock(coin_ids)

    def unsent(self, purpose: str) -> tuple[str, ...]:
        """IDs of transactions that were signed for BOND, SPLIT or SWAP, and of which no broadcast is known."""
        return self._purse.unsent(purpose)

    # Swaps ---------------------------------------------------------------------------------------------

    def swap_key(self, match_id: bytes, purpose: str) -> PrivateKey:
        """The key of one match (32 bytes) for a `SwapPurpose`: the same whenever it is asked for."""
        return self._keys.swap_key(match_id, SwapPurpose(purpose))

    def swap_address(self, match_id: bytes, purpose: str = SwapPurpose.REDEEM) -> str:
        """The address of that key, for contracts."""
        return self._keys.swap_address(match_id, SwapPurpose(purpose))

    async def sign_swap(
        self,
        coin_ids: Sequence[bytes],
        contracts: Sequence[tuple[bytes, bytes, int]],
        fee_rate: int,
        *,
        lock_change: str = "",
    ) -> SignedTx:
        """Spend all these coins into contracts at outputs 0, 1, ...; change comes last.

        contracts: (match ID, contract, value) each. lock_change: if not empty, locks the change for that reference.
        Raises UnknownCoinError, FundsError.
        """
        inputs = [self._purse.spendable(coin_id) for coin_id in coin_ids]
        place = await self._purse.fresh(Use.CHANGE)
        outputs = spend.swap_outputs(self.coin, [(contract, value) for _, contract, value in contracts])
        draft = spend.draft_payment(self.coin, inputs, outputs, place.script, fee_rate)
        payment = await self._purse.sign(draft)
        signed = self._purse.signed_tx(payment, len(contracts))
        with self._purse.journal.store.transaction():
            self._keep(signed, SWAP, place)
            for coin_id, (match_id, contract, _) in zip(signed.outputs, contracts, strict=True):
                lock_time = SwapContract.parse(contract).lock_time
                self._purse.stakes.add(coin_id, "swap", contract, lock_time, match_id.hex())
            if lock_change and signed.change is not None:
                self.lock([signed.change], lock_change)
        return signed

    async def sign_redeem(
        self, match_id: bytes, contract: bytes, coin_id: bytes, value: int, secret: bytes, fee_rate: int
    ) -> SignedTx:
        """Take the counterparty's contract with the secret, to an address of ours.

        Signals replaceability: signed again at a higher fee rate, it takes the place of the first in the mempool,
        where nodes allow it (Bitcoin's do, Litecoin's do not).
        `outputs` of the result holds the redemption's coin ID, which names input 0. Raises ContractError, FundsError.
        """
        key = self.swap_key(match_id, SwapPurpose.REDEEM)
        source = _replaceable(spend.redeem_input(self.coin, self._purse.point(coin_id), value, contract, key, secret))
        place = await self._purse.fresh(Use.PAYOUT)
        return self._take_back(spend.build_redeem(self.coin, [source], place.script, fee_rate), "redeem", place)

    async def sign_refund(
        self, match_id: bytes, contract: bytes, coin_id: bytes, value: int, fee_rate: int
    ) -> SignedTx:
        """Take our own contract back; the chain accepts it once median time has passed its lock time."""
        key = self.swap_key(match_id, SwapPurpose.REFUND)
        source = _replaceable(spend.refund_input(self.coin, self._purse.point(coin_id), value, contract, key))
        place = await self._purse.fresh(Use.PAYOUT)
        return self._take_back(spend.build_refund(self.coin, source, place.script, fee_rate), "refund", place)

    async def presign(
        self, match_id: bytes, purpose: str, contract: bytes, coin_id: bytes, value: int, fee_rate: int
    ) -> Ladder:
        """Transactions for somebody without keys to send later: see `twinlock.chain.presigned`.

        purpose: a `SwapPurpose`; redemptions lack the secret. All of them pay one address of ours, which is taken.
        Raises ContractError, ScanningError.
        """
        locked = presigned.Locked(self._purse.point(coin_id), value, contract)
        key, place = self.swap_key(match_id, purpose), await self._purse.fresh(Use.PAYOUT)
        build = presigned.refund_ladder if purpose == SwapPurpose.REFUND else presigned.redeem_ladder
        ladder = build(self.coin, locked, key, place.script, fee_rate)
        self._purse.take(place)
        return ladder

    def add_stake(self, coin_id: bytes, kind: StakeKind, script: bytes, lock_time: int, reference: str) -> None:
        """Tell of a contract or bond of ours that this store does not know, found while recovering from the seed."""
        self._purse.stakes.add(coin_id, kind, script, lock_time, reference)

    # Bonds ---------------------------------------------------------------------------------------------

    async def make_bond(
        self, amount: int, lock_time: int, account_id: bytes, pubkey: bytes, fee_rate: int
    ) -> BondDraft:
        """A bond (version 0) that the holder of `pubkey` (33 bytes) gets back at lock_time (s).

        Raises ShortFundsError.
        """
        bond = BondScript(lock_time, self._family.pubkey_hash(pubkey))
        script = bond.serialize()
        outputs = spend.bond_outputs(self.coin, amount, account_id, bond)
        inputs = [self._purse.own_input(coin) for coin in self._purse.choose_for(outputs, fee_rate)]
        place = await self._purse.fresh(Use.CHANGE)
        payment = await self._purse.sign(spend.draft_payment(self.coin, inputs, outputs, place.script, fee_rate))
        signed = self._purse.signed_tx(payment, 1)
        with self._purse.journal.store.transaction():
            self._keep(signed, BOND, place)
            self._purse.stakes.add(signed.outputs[0], "bond", script, lock_time, account_id.hex())
        return BondDraft(payment.unsigned, script, signed)

    async def refund_bond(self, coin_id: bytes, amount: int, script: bytes, key: PrivateKey, fee_rate: int) -> SignedTx:
        """Take a bond back; the chain accepts it once median time has passed its lock time."""
        source = _replaceable(spend.bond_input(self.coin, self._purse.point(coin_id), amount, script, key))
        place = await self._purse.fresh(Use.PAYOUT)
        payment = spend.build_bond_refund(self.coin, source, place.script, fee_rate)
        return self._take_back(payment, "bond refund", place)

    # ---------------------------------------------------------------------------------------------------

    async def _new_address(self, use: Use) -> str:
        place = await self._purse.fresh(use)
        self._purse.take(place)
        return place.address

    def _take_back(self, payment: spend.Payment, purpose: str, place: Place) -> SignedTx:
        """Store a transaction whose one output is ours."""
        signed = self._purse.signed_tx(payment, 1)
        with self._purse.journal.store.transaction():
            self._purse.keep(signed, purpose, place)
        return signed


def _replaceable(source: Input) -> Input:
    """Time runs out in swaps, so fees must be able to rise. Lock times count with any sequence below the final one."""
    return msgspec.structs.replace(source, sequence=REPLACEABLE)
