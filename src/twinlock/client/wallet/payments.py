"""What the owner of a wallet does with it beside trading: pay, sweep, label, raise fees, pass PSBTs around."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twinlock.chain import psbt_sign, script, spend, taproot
from twinlock.chain.address import address_to_script
from twinlock.chain.coins import Coin
from twinlock.chain.families import family_of
from twinlock.chain.keys import from_wif
from twinlock.chain.psbt import Psbt
from twinlock.chain.spend import Draft, Input
from twinlock.chain.tx import FINAL, TxOut
from twinlock.client.wallet import bumping, labels, papers
from twinlock.client.wallet.errors import ShortFundsError
from twinlock.client.wallet.keys import Use, WalletKeys
from twinlock.client.wallet.purse import Place, Purse
from twinlock.client.wallet.scanner import WalletView
from twinlock.client.wallet.types import CoinState, SignedTx
from twinlock.kernels.ripemd160 import hash160

REPLACEABLE = FINAL - 2
"""A sequence that allows a replacement with a higher fee (BIP 125)."""

FROZEN = "frozen"
"""The reference of coins that their owner has set aside."""


class Payments:
    """The owner's side of a wallet. Methods that sign store what they sign, and never broadcast."""

    def __init__(self, coin: Coin, view: WalletView, keys: WalletKeys, purse: Purse) -> None:
        self.coin = coin
        self._family = family_of(coin)
        self._view = view
        self._keys = keys
        self._purse = purse

    # Paying --------------------------------------------------------------------------------------------

    async def send(
        self, address: str, amount: int, fee_rate: int, *, label: str = "", coins: Sequence[bytes] = ()
    ) -> SignedTx:
        """Pay; the fee comes on top. Signals replaceability (BIP 125). coins: spend exactly these.

        Raises AddressError, ShortFundsError, UnknownCoinError.
        """
        out = TxOut(amount, address_to_script(self.coin, address))
        return await self._pay([out], fee_rate, "send", sequence=REPLACEABLE, label=label, coins=coins)

    async def sweep(self, address: str, fee_rate: int, *, label: str = "", coins: Sequence[bytes] = ()) -> SignedTx:
        """Pay all that is available, or all of `coins`, the fee taken from it; without an address, to the place where
        payouts go. Raises AddressError, ShortFundsError, FundsError.
        """
        own = None if address else await self._purse.fresh(Use.PAYOUT)
        to_script = own.script if own else address_to_script(self.coin, address)
        found = self._purse.available(coins)
        if not found:
            raise ShortFundsError("nothing is available", numbers={"have": 0, "need": 1})
        inputs = [self._purse.own_input(coin, REPLACEABLE) for coin in found]
        draft = spend.draft_sweep(self.coin, inputs, to_script, fee_rate)
        return await self._finish(draft, "sweep", own, label)

    async def sweep_key(self, wif: str, fee_rate: int, *, label: str = "") -> SignedTx:
        """Take all that a private key from elsewhere can spend: P2WPKH, also inside P2SH, P2TR, P2PKH and
        P2PK outputs.

        Raises KeyFormatError, EncodingError for a text that is no key of this coin, ShortFundsError where it has none.
        """
        key = from_wif(self.coin, wif)
        hashed = hash160(key.public)
        inputs: list[Input] = []
        for output in (
            script.p2wpkh(hashed),
            script.p2sh_of(script.p2wpkh(hashed)),
            taproot.output_script(key.public),
            script.p2pkh(hashed),
            script.p2pk(key.public),
        ):
            found = await self._view.unspent(output)
            inputs += [spend.key_input(each.point, each.value, output, key) for each in found]
        if not inputs:
            raise ShortFundsError("the chain shows nothing that this key can spend", numbers={"have": 0, "need": 1})
        own = await self._purse.fresh(Use.PAYOUT)
        return self._store(spend.build_sweep(self.coin, inputs, own.script, fee_rate), "key sweep", own, label)

    async def broadcast(self, raw: bytes) -> str:
        """Hand a signed transaction to the chain; repeating it is fine. Returns the txid. Raises RejectedError."""
        txid = await self._view.broadcast(raw)
        self._purse.sent(txid)
        return txid

    def abandon(self, txid: str) -> None:
        """Forget a signed transaction that was never broadcast, and free its coins. Raises WalletError if it was."""
        self._purse.abandon(txid)

    # Fees ----------------------------------------------------------------------------------------------

    async def bump(self, txid: str, fee_rate: int, budget: int) -> SignedTx:
        """Replace a payment of ours in the mempool by one that pays more (BIP 125).

        budget: the most atoms that the fee may rise by. Raises FeeError where it cannot be replaced, BudgetError.
        """
        return await bumping.replace(self._purse, txid, fee_rate, budget)

    async def pull(self, txid: str, fee_rate: int, budget: int) -> SignedTx:
        """Spend what a transaction in the mempool pays us, at a fee that lifts both to the rate (CPFP).

        budget: the most atoms that the child may pay. Raises FeeError where nothing of it is ours to spend,
        BudgetError.
        """
        return await bumping.child(self._purse, self._view, txid, fee_rate, budget)

    # PSBTs ---------------------------------------------------------------------------------------------

    async def make_psbt(
        self, outputs: Iterable[tuple[str, int]], fee_rate: int, *, coins: Sequence[bytes] = ()
    ) -> Psbt:
        """An unsigned payment of (address, atoms) pairs, for whoever has the keys; its coins are locked.

        Spends the coins whose keys are elsewhere, where the wallet has such. Raises ShortFundsError, AddressError.
        """
        outs = [TxOut(amount, address_to_script(self.coin, address)) for address, amount in outputs]
        return await self._make_psbt(outs, fee_rate, coins)

    async def make_deposit(self, amount: int, fee_rate: int, *, coins: Sequence[bytes] = ()) -> Psbt:
        """The same to an address of this wallet that it can trade from by itself."""
        place = await self._purse.fresh(Use.DEPOSIT)
        self._purse.take(place)
        return await self._make_psbt([TxOut(amount, place.script)], fee_rate, coins)

    async def sign_psbt(self, psbt: Psbt) -> Psbt:
        """Add our signatures, where inputs are ours and their keys here. Raises PsbtError if no input is."""
        return await self._purse.sign_psbt(psbt)

    async def take_psbt(self, psbt: Psbt, *, label: str = "") -> SignedTx:
        """Finish a signed PSBT and store its transaction. Raises PsbtError where a signature is missing or wrong."""
        final = psbt_sign.finalize(psbt)
        payment = spend.Payment(psbt_sign.extract(final), papers.fee_of(final))
        return self._store(payment, "psbt", None, label)

    # Names ---------------------------------------------------------------------------------------------

    def label(self, ref: str, text: str, subject: str = "tx") -> None:
        """Name a transaction, or another subject of BIP 329 by its reference; an empty text takes the name away."""
        self._purse.journal.label(ref, text, subject)

    def export_labels(self) -> str:
        """Every label and every frozen coin, as BIP 329 says."""
        frozen = [self._family.coin_id_text(lock.coin_id) for lock in self._frozen()]
        return labels.write(self._purse.journal.all_labels(), frozen)

    def import_labels(self, text: str) -> int:
        """Take over labels of BIP 329; how many. Coins that are said not to be spendable are frozen."""
        found = labels.read(text)
        with self._purse.journal.store.transaction():
            for each in found:
                if each.label is not None:
                    self.label(each.ref, each.label, each.type)
        for each in found:
            if each.type == "output" and each.spendable is not None:
                txid, _, index = each.ref.rpartition(":")
                coin_id = self._family.coin_id(txid, int(index))
                set_to = self.thaw if each.spendable else self.freeze
                set_to([coin_id])
        return len(found)

    def freeze(self, coin_ids: Sequence[bytes]) -> None:
        """Set coins aside until `thaw`; such as serve an order or a transaction stay where they are."""
        self._purse.lock([c for c in coin_ids if not self._purse.ledger.lock_of(self._purse.point(c))], FROZEN)

    def thaw(self, coin_ids: Sequence[bytes]) -> None:
        """Let frozen coins be spent again."""
        self._purse.unlock([c for c in coin_ids if self._purse.ledger.lock_of(self._purse.point(c)) == FROZEN])

    def descriptor(self) -> str:
        """The account for a watch-only wallet elsewhere, without any secret."""
        return self._keys.descriptor().text(self.coin)

    async def rescan(self, gap_limit: int, since: int | None = None) -> None:
        """Look at addresses further beyond the last used one; returns when all of them were looked at.

        since: the height to look from, from now on; None leaves it. Raises WalletError above the tip.
        """
        if since is not None:
            self._purse.look_from(since)
        self._purse.scanner.widen(gap_limit)
        await self._purse.until_scanned()

    # ---------------------------------------------------------------------------------------------------

    async def _make_psbt(self, outputs: Sequence[TxOut], fee_rate: int, only: Sequence[bytes]) -> Psbt:
        purse = self._purse
        state: CoinState = "outside" if self._keys.cold is not None else "available"
        chosen = purse.choose_for(outputs, fee_rate, only, state=state)
        place = await purse.fresh(Use.OUTSIDE_CHANGE)
        inputs = [purse.own_input(coin, REPLACEABLE) for coin in chosen]
        draft = spend.draft_payment(self.coin, inputs, outputs, place.script, fee_rate)
        if draft.change is not None:
            purse.take(place)
        purse.lock([purse.coin_id(coin.point) for coin in chosen], papers.LOCK + draft.tx.txid)
        return await purse.describe(papers.of_draft(purse.ledger, draft))

    def _frozen(self) -> list[labels.Frozen]:
        return [lock for lock in self._purse.journal.locks() if lock.reference == FROZEN]

    async def _pay(
        self,
        outputs: list[TxOut],
        fee_rate: int,
        purpose: str,
        *,
        sequence: int = FINAL,
        label: str = "",
        coins: Sequence[bytes] = (),
    ) -> SignedTx:
        chosen = self._purse.choose_for(outputs, fee_rate, coins)
        inputs = [self._purse.own_input(coin, sequence) for coin in chosen]
        place = await self._purse.fresh(Use.CHANGE)
        draft = spend.draft_payment(self.coin, inputs, outputs, place.script, fee_rate)
        payment = await self._purse.sign(draft)
        signed = self._purse.signed_tx(payment, len(outputs))
        with self._purse.journal.store.transaction():
            self._keep(signed, purpose, place)
            self._purse.journal.label(signed.txid, label)
        return signed

    async def _finish(self, draft: Draft, purpose: str, own: Place | None, label: str) -> SignedTx:
        return self._store(await self._purse.sign(draft), purpose, own, label)

    def _store(self, payment: spend.Payment, purpose: str, own: Place | None, label: str) -> SignedTx:
        signed = self._purse.signed_tx(payment, 1)
        with self._purse.journal.store.transaction():
            self._purse.keep(signed, purpose, own)
            self._purse.journal.label(signed.txid, label)
        return signed

    def _keep(self, signed: SignedTx, purpose: str, change: Place) -> None:
        """Store what was signed; the change address is taken only if there is change."""
        self._purse.keep(signed, purpose, change if signed.change is not None else None)
