"""Bonds: looked at before they are made, accepted once confirmed, dropped when they expire (protocol section 4.6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from twinlock.chain.errors import ChainError
from twinlock.chain.keys import PrivateKey
from twinlock.electrum.errors import ElectrumError
from twinlock.protocol.account import account_id as account_of
from twinlock.protocol.bonds import BondOffer, check_bond, check_prepaid, counts
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import (
    BOND_EXPIRY_CHECK_MS,
    BOND_POLL_MS,
    BOND_VERSION,
    PREPAID_ASSET_ID,
    PREPAID_CODE_BYTES,
)
from twinlock.protocol.messages.account import (
    BondExpired,
    PostBond,
    PostBondResult,
    PreValidateBond,
    PreValidateBondResult,
)
from twinlock.protocol.routes import BONDEXPIRED, POSTBOND, PREVALIDATEBOND
from twinlock.protocol.signing import require, sign, signed
from twinlock.protocol.wire import Hex
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend, BondCoin, CoinNotFoundError
from twinlock.server.assets.backend import CoinSpentError
from twinlock.server.comms.hub import UNANSWERED, Call, Hub
from twinlock.server.db import Database, Write
from twinlock.server.db.accounts import StoredBond, add_account, add_bond, bond_owner, drop_bond, load_code, use_code
from twinlock.server.users.accounts import Account, Accounts

# Each costs a question to the chain every five seconds, and a stranger needs nothing but a key to ask for one.
_WAITING_MAX = 32

log = structlog.get_logger(__name__)


class BondDesk:
    """Answers `prevalidatebond` and `postbond`. Run `run` as a task to let bonds expire."""

    def __init__(
        self,
        hub: Hub,
        accounts: Accounts,
        database: Database,
        assets: Mapping[int, AssetBackend],
        key: PrivateKey,
        clock: Clock,
        wait_ms: int,
    ) -> None:
        self._hub = hub
        self._accounts = accounts
        self._database = database
        self._assets = {number: asset for number, asset in assets.items() if asset.terms.bond_amount}
        self._key = key
        self._clock = clock
        self._wait_ms = wait_ms
        self._confirming: set[tuple[int, bytes]] = set()
        self._waiting: Counter[str] = Counter()
        self.on_bonded: list[Callable[[bytes], None]] = []
        hub.serve(PREVALIDATEBOND, self.prevalidate)
        hub.serve(POSTBOND, self.post, waits=True)

    @property
    def confirming(self) -> int:
        """How many bonds wait for their confirmations."""
        return len(self._confirming)

    async def prevalidate(self, call: Call[PreValidateBond]) -> PreValidateBondResult:
        """Look at an unsigned bond transaction. Raises RpcError 22 or 66."""
        request = call.payload
        require(request.account_key, request.signed_bytes(), request.sig)
        asset = self._asset(request.asset_id, request.version)
        account_id = account_of(request.account_key)
        try:
            terms = asset.family.parse_bond_tx(request.tx)
        except ChainError as error:
            raise _refusal(error) from error
        check_bond(terms, account_id, self._offer(asset), self._accounts.now_s())
        result = PreValidateBondResult(
            account_id=Hex(account_id),
            asset_id=request.asset_id,
            amount=terms.amount,
            expiry=terms.lock_time - self._accounts.expiry_s,
        )
        signature = sign(self._key, result.signed_bytes(request.tx))
        return PreValidateBondResult(
            sig=signature,
            account_id=result.account_id,
            asset_id=result.asset_id,
            amount=result.amount,
            expiry=result.expiry,
        )

    async def post(self, call: Call[PostBond]) -> PostBondResult:
        """Accept a bond. Raises RpcError 22, 59, 66 or 67; silent if it never confirms."""
        request = call.payload
        require(request.account_key, request.signed_bytes(), request.sig)
        account_id = account_of(request.account_key)
        call.account = account_id
        coin = (request.asset_id, bytes(request.coin_id))
        known = await self._accounts.load(account_id)
        if known is not None and coin in known.bonds:
            return self._result(known, known.bonds[coin])
        if coin in self._confirming:
            raise RpcError(ErrorCode.BOND_CONFIRMING, "this bond is waiting for its confirmations already")
        address = call.link.address
        if self._waiting[address] >= _WAITING_MAX:
            reason = f"{_WAITING_MAX} bonds from this address are looked for already"
            raise RpcError(ErrorCode.TOO_MANY_REQUESTS, reason, code="bond.too_many", fix="wait for one of them")
        self._confirming.add(coin)
        self._waiting[address] += 1
        try:
            if await bond_owner(self._database, *coin) is not None:
                raise RpcError(ErrorCode.BOND, "this bond belongs to another account", code="bond.account")
            if request.asset_id == PREPAID_ASSET_ID:
                bond, extra = await self._redeem_code(account_id, request)
            else:
                found = await self._confirmed_bond(account_id, request)
                if found is None:
                    return UNANSWERED  # type: ignore[no-any-return]
                bond, extra = found, []
            return self._result(await self._store(request.account_key, bond, extra), bond)
        finally:
            self._confirming.discard(coin)
            self._waiting -= Counter((address,))  # which also forgets addresses that wait for nothing

    async def run(self) -> None:
        """Drop expired bonds, for ever."""
        while True:
            await self._clock.sleep(BOND_EXPIRY_CHECK_MS / 1000)
            await self.sweep()

    async def sweep(self) -> None:
        """Drop the bonds that stopped counting."""
        for account in self._accounts:
            await self._expire(account)

    async def _confirmed_bond(self, account_id: bytes, request: PostBond) -> StoredBond | None:
        """Poll the chain until the bond is deep enough; None when the time is over while it confirms."""
        asset = self._asset(request.asset_id, request.version)
        deadline = self._clock.now_ms() + self._wait_ms
        while True:
            coin, trouble = await _look(asset, request.coin_id)
            if coin is not None:
                strength = check_bond(coin.terms, account_id, self._offer(asset), self._accounts.now_s())
                if coin.confirmations >= asset.terms.bond_confs:
                    return StoredBond(
                        asset_id=request.asset_id,
                        coin_id=bytes(request.coin_id),
                        account_id=account_id,
                        version=request.version,
                        amount=coin.terms.amount,
                        strength=strength,
                        lock_time=coin.terms.lock_time,
                    )
            if self._clock.now_ms() + BOND_POLL_MS > deadline:
                if trouble is not None:
                    raise trouble
                return None
            await self._clock.sleep(BOND_POLL_MS / 1000)

    async def _redeem_code(self, account_id: bytes, request: PostBond) -> tuple[StoredBond, list[Write]]:
        code = bytes(request.coin_id)
        stored = await load_code(self._database, code) if len(code) == PREPAID_CODE_BYTES else None
        if stored is None or request.version != BOND_VERSION:
            raise RpcError(ErrorCode.BOND, "no such prepaid code", code="bond.prepaid", fix="check the code")
        check_prepaid(stored.lock_time, self._accounts.now_s(), self._accounts.expiry_s)
        bond = StoredBond(
            asset_id=PREPAID_ASSET_ID,
            coin_id=code,
            account_id=account_id,
            version=BOND_VERSION,
            amount=0,
            strength=stored.strength,
            lock_time=stored.lock_time,
        )
        return bond, [use_code(code)]

    async def _store(self, pubkey: bytes, bond: StoredBond, extra: list[Write]) -> Account:
        known = await self._accounts.load(bond.account_id)
        new = [] if known else [add_account(bond.account_id, bytes(pubkey), self._clock.now_ms())]
        await self._database.write(*new, *extra, add_bond(bond))
        account = known or self._accounts.add(bond.account_id, bytes(pubkey))
        account.bonds[bond.key] = bond
        log.info("bond accepted", account=bond.account_id.hex(), asset=bond.asset_id, strength=bond.strength)
        for callback in self.on_bonded:
            callback(bond.account_id)
        return account

    def _result(self, account: Account, bond: StoredBond) -> PostBondResult:
        result = PostBondResult(
            account_id=Hex(account.account_id),
            asset_id=bond.asset_id,
            amount=bond.amount,
            expiry=bond.lock_time - self._accounts.expiry_s,
            strength=bond.strength,
            bond_id=Hex(bond.coin_id),
            reputation=self._accounts.standing(account).message(),
        )
        return signed(self._key, result)

    async def _expire(self, account: Account) -> None:
        now = self._accounts.now_s()
        expired = [b for b in account.bonds.values() if not counts(b.lock_time, now, self._accounts.expiry_s)]
        if not expired:
            return
        await self._database.write(*(drop_bond(bond) for bond in expired))
        for bond in expired:
            account.bonds.pop(bond.key, None)
        after = self._accounts.standing(account)
        for bond in expired:
            note = BondExpired(
                account_id=Hex(account.account_id),
                asset_id=bond.asset_id,
                coin_id=Hex(bond.coin_id),
                tier=after.tier,
                reputation=after.message(),
            )
            self._hub.send(account.account_id, BONDEXPIRED, signed(self._key, note))
        # That is all: a bond that ran out is no offence, so nothing is revoked, and `tierchange` is for outcomes.

    def _asset(self, asset_id: int, version: int) -> AssetBackend:
        asset = self._assets.get(asset_id)
        if asset is None:
            raise RpcError(ErrorCode.BOND, f"asset {asset_id} backs no bonds here", code="bond.asset")
        if version != BOND_VERSION:
            raise RpcError(ErrorCode.BOND, f"bond version {version} is not known", code="bond.version")
        return asset

    def _offer(self, asset: AssetBackend) -> BondOffer:
        return BondOffer(asset.terms.bond_amount, self._accounts.expiry_s)


async def _look(asset: AssetBackend, coin_id: bytes) -> tuple[BondCoin | None, RpcError | None]:
    """The bond now, or why it cannot be seen yet. Raises RpcError 66 for what no waiting cures."""
    try:
        return await asset.bond(coin_id), None
    except (CoinNotFoundError, ElectrumError) as error:
        return None, _refusal(error)
    except (ChainError, CoinSpentError) as error:
        raise _refusal(error) from error


def _refusal(error: ChainError | CoinNotFoundError | CoinSpentError | ElectrumError) -> RpcError:
    return RpcError(
        ErrorCode.BOND, str(error), code=error.code, fault=error.fault, numbers=error.numbers, fix=error.fix
    )
