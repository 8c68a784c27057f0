"""`connect`: a link proves that it speaks for an account (protocol section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from twinlock.chain.keys import PrivateKey
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import HASH_BYTES
from twinlock.protocol.messages.account import ActiveBond, Connect, ConnectResult
from twinlock.protocol.messages.status import ActiveMatch, ActiveOrder
from twinlock.protocol.routes import CONNECT
from twinlock.protocol.signing import require, sign
from twinlock.protocol.wire import Hex
from twinlock.server.comms.hub import Call, Hub
from twinlock.server.users.accounts import Account, Accounts


class Activity(Protocol):
    """What a returning client must know (the dex manager)."""

    def active_orders(self, account_id: bytes) -> list[ActiveOrder]: ...

    def active_matches(self, account_id: bytes) -> list[ActiveMatch]: ...


class Login:
    """Answers `connect`."""

    def __init__(self, hub: Hub, accounts: Accounts, activity: Activity, key: PrivateKey) -> None:
        self._hub = hub
        self._accounts = accounts
        self._activity = activity
        self._key = key
        self.on_login: list[Callable[[bytes], None]] = []
        """Called with the account ID directly after the answer."""
        hub.serve(CONNECT, self.connect)

    async def connect(self, call: Call[Connect]) -> ConnectResult:
        """Raises RpcError 41, 50 or 22."""
        request = call.payload
        account_id = bytes(request.account_id)
        if len(account_id) != HASH_BYTES:
            raise RpcError(ErrorCode.AUTHENTICATION, f"an account ID has 32 bytes, not {len(account_id)}")
        account = await self._accounts.load(account_id)
        if account is None:
            raise RpcError(ErrorCode.ACCOUNT_NOT_FOUND, "no such account here", fix="post a bond to open one")
        message = request.signed_bytes()
        require(account.pubkey, message, request.sig)
        self._hub.authenticate(call.link, account_id)
        call.after.extend(partial(callback, account_id) for callback in self.on_login)
        return self._result(account, message)

    def _result(self, account: Account, message: bytes) -> ConnectResult:
        standing = self._accounts.standing(account)
        bonds = [
            ActiveBond(
                version=bond.version,
                amount=bond.amount,
                expiry=bond.lock_time - self._accounts.expiry_s,
                coin_id=Hex(bond.coin_id),
                asset_id=bond.asset_id,
                strength=bond.strength,
            )
            for bond in self._accounts.active_bonds(account)
        ]
        return ConnectResult(
            sig=sign(self._key, message),
            active_orders=self._activity.active_orders(account.account_id),
            active_matches=self._activity.active_matches(account.account_id),
            score=standing.score,
            active_bonds=bonds,
            reputation=standing.message(),
        )
