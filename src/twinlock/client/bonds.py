"""Bonds: what an account stands on. Each is asked about, signed, stored, and only then broadcast.

A bond's life is the table `_STEPS`: signed, broadcast, confirmed, posted, expired, refunding, refunded. The
loop looks at every bond again and again, so a step that failed, or that a crash cut short, is simply taken later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from twinlock.client.bond_claims import account_id, claim, prevalidate
from twinlock.client.bond_finding import recognise
from twinlock.client.desk import CoinSide, Desk
from twinlock.client.errors import BondError
from twinlock.client.events import BondChanged, TierChanged
from twinlock.client.store import changing
from twinlock.client.store.records import BondRecord
from twinlock.client.waiting import rest
from twinlock.errors import TwinlockError
from twinlock.protocol import bonds as rules
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import (
    BOND_PENDING_BUFFER_S,
    PREPAID_ASSET_ID,
    PREPAID_CODE_BYTES,
)
from twinlock.protocol.messages.account import (
    ActiveBond,
    BondExpired,
    ConnectResult,
    PostBondResult,
    Reputation,
    TierChange,
)

_LAST_SECOND = 2**32 - 1
"""Later than that no lock time is, on any chain."""


class Prepaid(NamedTuple):
    """A redeemed code. expiry: the second at which it ceases to count."""

    code: bytes
    strength: int
    expiry: int

    @classmethod
    def told(cls, bond: ActiveBond | PostBondResult, code: bytes) -> Prepaid:
        """By a server, which may name any second."""
        return cls(code, bond.strength, min(bond.expiry, _LAST_SECOND))


class Bonds:
    """Our bonds at one server. `first_posted` is called when a bond has made the account, which then logs in."""

    def __init__(self, desk: Desk, first_posted: Callable[[], Awaitable[None]]) -> None:
        self._desk = desk
        self._first_posted = first_posted
        self._busy = asyncio.Lock()
        self._wake = asyncio.Event()
        self._records = {bond.key: bond for bond in desk.store.all(BondRecord) if bond.host == desk.host}
        self._strangers: list[ActiveBond] = []
        self.prepaid: list[Prepaid] = []
        """Of the codes that were redeemed, those that the server counts."""
        self.reputation: Reputation | None = None

    @property
    def tier(self) -> int:
        """What orders need to be at least 1: bonds minus penalties."""
        return self.reputation.bonded_tier - self.reputation.penalties if self.reputation else 0

    def all(self) -> list[BondRecord]:
        """Every bond at this server, old ones too."""
        return list(self._records.values())

    async def register(self, symbol: str, tier: int = 1) -> BondRecord:
        """Lock a bond for that many tiers and keep the tier from now on. The bond is posted when it has confirmed.

        Raises BondError, wallet errors for missing funds, and RpcError when the server would not take it.
        """
        async with self._busy:
            bond = await self._make(symbol, tier)
            account = self._desk.account
            assert account is not None
            with changing(self._desk.store, account):
                account.bond_asset, account.target_tier = symbol, max(tier, account.target_tier)
        self._wake.set()
        return bond

    async def redeem_code(self, code: bytes) -> int:
        """Use an operator's prepaid code (16 bytes, protocol section 4.7) in place of a bond; returns its tiers.

        Raises RpcError when the server does not take it.
        """
        if len(code) != PREPAID_CODE_BYTES:
            raise BondError("a prepaid code is 16 bytes", numbers={"size": len(code)}, fix="enter 32 hex digits")
        answer = await claim(self._desk, PREPAID_ASSET_ID, 0, code)
        if not self._desk.logged_in:
            await self._first_posted()
        if code not in (each.code for each in self.prepaid):
            self.prepaid.append(Prepaid.told(answer, code))
        self.told(answer.reputation, "a prepaid code was redeemed")
        return answer.strength

    async def run(self) -> None:
        """Look after every bond until cancelled."""
        while True:
            await self._recover()
            for bond in self.all():
                await self._care(bond)
            await self._renew()
            self._wake.clear()
            await rest(self._desk.clock, self._desk.pace.bond_check, self._wake)

    def wake(self) -> None:
        """Look again now: a block came, or the connection is back."""
        self._wake.set()

    # What the server says ------------------------------------------------------------------------------

    def on_login(self, result: ConnectResult) -> None:
        """Take over the tier, and post again whatever the server does not know."""
        self.told(result.reputation)
        known = {(bond.asset_id, bytes(bond.coin_id)): bond for bond in result.active_bonds}
        for bond in self.all():
            counted = known.pop((bond.asset_id, bond.coin_id), None)
            if counted is not None and bond.state not in _LEAVING:
                self._move(bond, "posted", strength=counted.strength)
            elif bond.state == "posted" and self._counts(bond):
                self._move(bond, "confirmed")
        strangers = known.values()
        self.prepaid = [Prepaid.told(bond, bond.coin_id) for bond in strangers if bond.asset_id == PREPAID_ASSET_ID]
        self._strangers = [bond for bond in strangers if bond.asset_id != PREPAID_ASSET_ID]
        self._wake.set()

    def on_unknown(self) -> None:
        """The server has no account of ours. If it had one, what it forgot is posted anew; it stands on the chain."""
        self.reputation = None
        for bond in self.all():
            if bond.state == "posted" and self._counts(bond):
                self._move(bond, "confirmed")
        self._wake.set()

    def told(self, reputation: Reputation, reason: str = "") -> None:
        """The server counted us anew."""
        before, self.reputation = self.tier, reputation
        if self.tier != before or reason:
            self._desk.emit(TierChanged, tier=self.tier, score=reputation.score, reason=reason)

    async def on_tier_change(self, note: TierChange) -> None:
        self._desk.require_server_signature("a tier change", note.signed_bytes(), note.sig)
        self.told(note.reputation, note.reason)

    async def on_expired(self, note: BondExpired) -> None:
        self._desk.require_server_signature("a bond's expiry", note.signed_bytes(), note.sig)
        for bond in self.all():
            if bond.coin_id == note.coin_id and bond.state == "posted":
                self._move(bond, "expired")
        self.prepaid = [each for each in self.prepaid if each.code != note.coin_id]
        self.told(note.reputation, "a bond expired")
        self._wake.set()

    # Making ----------------------------------------------------------------------------------------------

    async def _make(self, symbol: str, tier: int) -> BondRecord:
        desk = self._desk
        offer = desk.require_config().bond_assets.get(symbol)
        if offer is None:
            known = ", ".join(desk.require_config().bond_assets)
            raise BondError(f"{desk.host} takes no bonds in {symbol}", fix=f"choose one of: {known}")
        if tier < 1:
            raise BondError("a bond buys at least one tier", numbers={"tier": tier})
        side = desk.coin(offer.id)
        index = 1 + max((bond.index for bond in desk.store.all(BondRecord) if bond.asset_id == offer.id), default=-1)
        lock_time = rules.new_lock_time(desk.clock.now_ms() // 1000, desk.network)
        draft = await side.wallet.make_bond(
            offer.amount * tier,
            lock_time,
            account_id(desk),
            desk.keys.bond_key(offer.id, index).public,
            await side.chain.fee_rate(),
        )
        try:
            await prevalidate(desk, draft, offer)
        except BaseException:
            side.wallet.abandon(draft.signed.txid)
            raise
        bond = BondRecord(
            host=desk.host,
            asset_id=offer.id,
            version=offer.version,
            index=index,
            amount=offer.amount * tier,
            lock_time=lock_time,
            coin_id=draft.signed.outputs[0],
            script=draft.script,
            raw_tx=draft.signed.raw,
            needed=offer.confs,
        )
        desk.store.put(bond)
        self._records[bond.key] = bond
        self._tell(bond)
        return bond

    # Looking after ---------------------------------------------------------------------------------------

    async def _care(self, bond: BondRecord) -> None:
        """Take as many steps as are possible now."""
        async with self._busy:
            step = _STEPS.get(bond.state)
            while step is not None:
                before = bond.state
                try:
                    await step(self, bond, self._desk.coin(bond.asset_id))
                except TwinlockError as error:
                    if not (isinstance(error, RpcError) and error.rpc_code is ErrorCode.BOND_CONFIRMING):
                        self._desk.notice(f"bond {bond.key}: {error}", "warning")
                    return
                step = _STEPS.get(bond.state) if bond.state != before else None

    async def _broadcast(self, bond: BondRecord, side: CoinSide) -> None:
        await side.wallet.broadcast(bond.raw_tx)
        self._move(bond, "broadcast")

    async def _await_confirmations(self, bond: BondRecord, side: CoinSide) -> None:
        status = await side.chain.output(side.family.parse_coin_id(bond.coin_id))
        if status is None:
            self._move(bond, "signed")  # A reorg or a restarted node forgot it: the same bytes go out again.
        elif status.confirmations >= bond.needed:
            self._move(bond, "confirmed", confirmations=status.confirmations)
        else:
            self._tell(bond, status.confirmations)

    async def _post(self, bond: BondRecord, side: CoinSide) -> None:  # noqa: ARG002
        desk = self._desk
        if not self._counts(bond):
            self._move(bond, "expired")
            return
        if not desk.session.ready.is_set():
            return
        try:
            answer = await claim(desk, bond.asset_id, bond.version, bond.coin_id)
        except RpcError as error:
            if error.rpc_code is ErrorCode.BOND:  # It will not count it; at its lock time the coins come back.
                self._move(bond, "expired")
            raise
        self._move(bond, "posted", strength=answer.strength)
        if desk.logged_in:
            self.told(answer.reputation, "a bond was posted")
        else:
            await self._first_posted()  # Tells the tier too, when orders are possible.

    async def _await_expiry(self, bond: BondRecord, side: CoinSide) -> None:  # noqa: ARG002
        if not self._counts(bond):
            self._move(bond, "expired")

    async def _refund(self, bond: BondRecord, side: CoinSide) -> None:
        if (await side.chain.tip()).median_time <= bond.lock_time:
            return
        refund = await side.wallet.refund_bond(
            bond.coin_id,
            bond.amount,
            bond.script,
            self._desk.keys.bond_key(bond.asset_id, bond.index),
            await side.chain.fee_rate(),
        )
        self._move(bond, "refunding", refund_tx=refund.raw)

    async def _finish_refund(self, bond: BondRecord, side: CoinSide) -> None:
        status = await side.chain.output(side.family.parse_coin_id(bond.coin_id))
        if status is not None and status.spender_height is not None:
            self._move(bond, "refunded")
        else:
            await side.wallet.broadcast(bond.refund_tx)

    async def _renew(self) -> None:
        """Lock the next bond before the last one stops counting."""
        desk, account = self._desk, self._desk.account
        if account is None or not account.target_tier or not desk.session.ready.is_set():
            return
        if any(bond.state == "expired" and self._counts(bond) for bond in self.all()) and not desk.logged_in:
            return  # The server refused one, so it may refuse the next; a person has to look.
        margin = 2 * BOND_PENDING_BUFFER_S.get(desk.network, BOND_PENDING_BUFFER_S["testnet"])
        offer = desk.require_config().bond_assets.get(account.bond_asset)
        lasting = sum(
            bond.amount // offer.amount
            for bond in self.all()
            if offer and bond.asset_id == offer.id and bond.state in _LASTING and self._counts(bond, margin)
        )
        if offer is None or lasting >= account.target_tier:
            return
        try:
            async with self._busy:
                await self._make(account.bond_asset, account.target_tier - lasting)
        except TwinlockError as error:
            desk.notice(f"the bond cannot be renewed: {error}", "warning")
        else:
            self._wake.set()

    # Recovering ------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Take over bonds that the server counts and an empty disk does not know (protocol section 4.4)."""
        strangers, self._strangers = self._strangers, []
        for stranger in strangers:
            side = self._desk.coins.get(stranger.asset_id)
            if side is None:  # One in a coin that we have no wallet for.
                continue
            try:
                bond = await recognise(self._desk, side, stranger)
            except TwinlockError as error:
                self._strangers.append(stranger)
                self._desk.notice(f"a bond cannot be recovered now: {error}", "warning")
                continue
            if bond is None:
                coin = side.family.coin_id_text(stranger.coin_id)
                self._desk.notice(f"the server counts a bond that is not of this seed: {coin}", "warning")
            else:
                self.adopt(bond, account_id(self._desk).hex())

    def adopt(self, bond: BondRecord, account: str) -> None:
        """Look after a bond that this store did not know; account: its ID in hex, may be empty."""
        side = self._desk.coin(bond.asset_id)
        with self._desk.store.transaction():
            side.wallet.add_stake(bond.coin_id, "bond", bond.script, bond.lock_time, account)
            self._desk.store.put(bond)
        self._records[bond.key] = bond
        self._tell(bond)
        self._wake.set()

    # Small things ------------------------------------------------------------------------------------------

    def _counts(self, bond: BondRecord, margin: int = 0) -> bool:
        expiry = self._desk.config.bond_expiry_s if self._desk.config else rules.bond_expiry(self._desk.network)
        return rules.counts(bond.lock_time, self._desk.clock.now_ms() // 1000 + margin, expiry)

    def _move(self, bond: BondRecord, state: str, *, confirmations: int = 0, **members: object) -> None:
        """members: what changes together with the state."""
        if bond.state != state:
            with changing(self._desk.store, bond):
                for name, value in {"state": state, **members}.items():
                    setattr(bond, name, value)
            self._tell(bond, confirmations)

    def _tell(self, bond: BondRecord, confirmations: int = 0) -> None:
        side = self._desk.coin(bond.asset_id)
        self._desk.emit(
            BondChanged,
            asset=side.coin.symbol,
            coin=side.family.coin_id_text(bond.coin_id),
            amount=bond.amount,
            state=bond.state,
            confirmations=confirmations,
            needed=bond.needed,
        )


_LEAVING = ("refunding", "refunded")
"""States of bonds whose coins are on their way back, whatever the server's clock makes of them."""

_LASTING = ("signed", "broadcast", "confirmed", "posted")
"""States of bonds that the server counts, or will."""

_STEPS: dict[str, Callable[[Bonds, BondRecord, CoinSide], Awaitable[None]]] = {
    "signed": Bonds._broadcast,
    "broadcast": Bonds._await_confirmations,
    "confirmed": Bonds._post,
    "posted": Bonds._await_expiry,
    "expired": Bonds._refund,
    "refunding": Bonds._finish_refund,
}
