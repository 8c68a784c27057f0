"""`init` and `redeem`: what a trader reports, judged by what its chain shows (protocol sections 7.3 and 7.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Protocol, TypeVar

import structlog

from twinlock.chain.errors import ChainError, CoinIdError
from twinlock.chain.keys import PrivateKey
from twinlock.chain.terms import ContractAudit, ContractTerms
from twinlock.electrum.errors import ElectrumError
from twinlock.protocol.codes import ErrorCode, RpcError, refuse
from twinlock.protocol.constants import SECRET_BYTES
from twinlock.protocol.messages.swaps import Acknowledgement, Init, Redeem
from twinlock.protocol.routes import INIT, REDEEM
from twinlock.protocol.signing import require, sign
from twinlock.protocol.swap import MatchStatus, Party, Verdict
from twinlock.protocol.swap.audit import Finding, check_contract
from twinlock.protocol.swap.events import Announced, Audited, Seen
from twinlock.protocol.wire import Hex, Signed
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend, CoinNotFoundError, SwapCoin
from twinlock.server.assets.backend import FeeUnknownError, Redeeming, RedemptionError
from twinlock.server.comms.hub import Call, Hub
from twinlock.server.db import Database
from twinlock.server.db.matches import change_match
from twinlock.server.swapper.redemptions import REDEEMS
from twinlock.server.swapper.relays import Relays
from twinlock.server.swapper.settling import SIDE_NAMES, Settling, SwapPolicy
from twinlock.server.users.accounts import Accounts

T = TypeVar("T")
log = structlog.get_logger(__name__)

# A transaction is looked for every 3 s at first, slowing down to every 30 s.
_RETRY_FIRST_S = 3.0
_RETRY_LAST_S = 30.0
_RETRY_GROWTH = 1.5

_INITS = {Party.MAKER: MatchStatus.NEWLY_MATCHED, Party.TAKER: MatchStatus.MAKER_SWAP_CAST}
_REDEEMS = {side: status for status, side in REDEEMS.items()}


class Matches(Protocol):
    """The matches under way (the executor)."""

    def find(self, match_id: bytes) -> Settling | None: ...

    def reused(self, settling: Settling, side: Party, coin_id: bytes, contract: bytes, secret_hash: bytes) -> bool: ...

    def claim(self, settling: Settling, side: Party, coin_id: bytes, contract: bytes, secret_hash: bytes) -> None: ...

    def overdue(self, settling: Settling) -> bool: ...

    def swap_seen(self, settling: Settling, side: Party) -> None: ...

    async def expired(self, settling: Settling) -> None: ...

    async def redeemed(self, settling: Settling, side: Party, found: Redeeming, signature: bytes) -> None: ...


class ReportDesk:
    """Answers `init` and `redeem`; what it accepts is relayed as `audit` and `redemption`."""

    def __init__(
        self,
        hub: Hub,
        database: Database,
        accounts: Accounts,
        relays: Relays,
        assets: Mapping[int, AssetBackend],
        matches: Matches,
        policy: SwapPolicy,
        key: PrivateKey,
        clock: Clock,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._relays = relays
        self._assets = assets
        self._matches = matches
        self._policy = policy
        self._key = key
        self._clock = clock
        hub.serve(INIT, self.init, waits=True)
        hub.serve(REDEEM, self.redeem, waits=True)

    async def init(self, call: Call[Init]) -> Acknowledgement:
        """Take a contract in. Raises RpcError 22, 6, 26, 64, 24 or 25."""
        report = call.payload
        settling, side = self._begin(call.account, report, report.order_id, report.match_id, _INITS)
        asset = self._assets[settling.asset(side)]
        _check_syntax(report, asset)
        settling.searching.add(side)
        try:
            coin = await self._search(partial(asset.swap, bytes(report.coin_id), bytes(report.contract)))
            self._still(settling, side, _INITS)
            self._judge(settling, side, report, coin)
            if coin.terms.lock_time * 1000 <= self._clock.now_ms():
                await self._matches.expired(settling)
                raise RpcError(ErrorCode.CONTRACT, "the contract is expired already", code="contract.expired")
            await self._store_contract(settling, side, report, coin)
        finally:
            settling.searching.discard(side)
        call.after.append(partial(self._relays.contract, settling, side))
        return self._receipt(report, report.match_id)

    async def redeem(self, call: Call[Redeem]) -> Acknowledgement:
        """Take a redemption in. Raises RpcError 22, 6, 26, 64, 25, 52, 24 or 29."""
        report = call.payload
        settling, side = self._begin(call.account, report, report.order_id, report.match_id, _REDEEMS)
        leg = settling.swap.legs[side.other]
        asset = self._assets[settling.asset(side.other)]
        _parse_coin(asset, report.coin_id)
        if not _opens(report.secret, settling.swap.secret_hash):
            raise RpcError(ErrorCode.INVALID_REQUEST, "the secret does not open the contract", code="redeem.secret")
        settling.searching.add(side)
        try:
            await self._search(partial(asset.redemption, bytes(report.coin_id), leg.coin_id, leg.contract))
            self._still(settling, side, _REDEEMS)
            found = Redeeming(bytes(report.coin_id), bytes(report.secret))
            await self._matches.redeemed(settling, side, found, bytes(report.sig))
        finally:
            settling.searching.discard(side)
        call.after.append(partial(self._relays.redemption, settling, side))
        return self._receipt(report, report.match_id)

    def _begin(
        self, account_id: bytes, report: Signed, order_id: bytes, match_id: bytes, turns: Mapping[Party, MatchStatus]
    ) -> tuple[Settling, Party]:
        account = self._accounts.get(account_id)
        if account is None:
            raise RpcError(ErrorCode.ACCOUNT_NOT_FOUND, "no such account")
        require(account.pubkey, report.signed_bytes(), report.sig)
        settling = self._matches.find(bytes(match_id))
        side = settling.side_of(bytes(order_id)) if settling is not None else None
        if settling is None or side is None or settling.account(side) != account_id:
            raise RpcError(
                ErrorCode.UNKNOWN_MATCH, "no active match of yours has this ID", fix="ask for its match_status"
            )
        if settling.status is not turns[side]:
            raise RpcError(
                ErrorCode.SETTLEMENT_SEQUENCE,
                f"the match stands at {settling.status.name}, it is not your turn",
                numbers={"status": int(settling.status)},
                fix="ask for its match_status",
            )
        if side in settling.searching:
            raise RpcError(ErrorCode.DUPLICATE_REQUEST, "this report is being looked up already", fix="wait")
        if self._matches.overdue(settling):
            raise _late(settling.status)
        return settling, side

    def _still(self, settling: Settling, side: Party, turns: Mapping[Party, MatchStatus]) -> None:
        """The match may have failed while its transaction was looked for."""
        if self._matches.find(settling.match_id) is None or settling.status is not turns[side]:
            raise RpcError(ErrorCode.UNKNOWN_MATCH, "the match is no longer active")

    async def _search(self, look: Callable[[], Awaitable[T]]) -> T:
        """Look until it is found or the wait is over. Raises RpcError 24, 25 or 29."""
        deadline = self._clock.now_ms() + self._policy.tx_wait_ms
        pause = _RETRY_FIRST_S
        while True:
            try:
                return await look()
            except (CoinNotFoundError, ElectrumError) as error:
                if self._clock.now_ms() + pause * 1000 > deadline:
                    raise refuse(ErrorCode.TRANSACTION_UNDISCOVERED, error) from error
            except RedemptionError as error:
                raise refuse(ErrorCode.REDEMPTION, error) from error
            except (ChainError, FeeUnknownError) as error:
                raise refuse(ErrorCode.CONTRACT, error) from error
            await self._clock.sleep(pause)
            pause = min(pause * _RETRY_GROWTH, _RETRY_LAST_S)

    def _judge(self, settling: Settling, side: Party, report: Init, coin: SwapCoin) -> None:
        """Checks 2 to 7 of section 7.3; what passes them is this match's alone."""
        family = self._assets[settling.asset(side)].family
        point = family.parse_coin_id(report.coin_id)
        own = bytes(report.coin_id), bytes(report.contract), coin.terms.secret_hash
        reused = self._matches.reused(settling, side, *own)
        finding = Finding(
            audit=ContractAudit(coin.terms, coin.value, point),
            confirmations=coin.confirmations,
            fee_rate=coin.fee_rate or 0,
            seen_before=reused,
        )
        check_contract(settling.swap, side, finding, strict=True)
        self._matches.claim(settling, side, *own)

    async def _store_contract(self, settling: Settling, side: Party, report: Init, coin: SwapCoin) -> None:
        name, now = SIDE_NAMES[side], self._clock.now_ms()
        columns = {
            f"{name}_contract": bytes(report.contract),
            f"{name}_swap_coin": bytes(report.coin_id),
            f"{name}_swap_time": now,
            f"{name}_swap_sig": bytes(report.sig),
            "status": int(MatchStatus.MAKER_SWAP_CAST if side is Party.MAKER else MatchStatus.TAKER_SWAP_CAST),
        }
        await self._database.write(change_match(settling.match_id, **columns))
        settling.record(**columns)
        settling.raw[side] = coin.raw_tx
        coin_id = bytes(report.coin_id)
        settling.learn(
            Announced(side, coin_id, bytes(report.contract)),
            Audited(side, coin_id, Verdict.SOUND, coin.terms.secret_hash),
            Seen(side, coin.confirmations, now),
        )
        self._matches.swap_seen(settling, side)
        log.info("contract accepted", match=settling.match_id.hex(), side=name, confirmations=coin.confirmations)

    def _receipt(self, report: Signed, match_id: Hex) -> Acknowledgement:
        return Acknowledgement(match_id=match_id, sig=sign(self._key, report.signed_bytes()))


def _late(status: MatchStatus) -> RpcError:
    """No report begins a search any more once its time is over: else one after another would keep a match for ever."""
    if status in REDEEMS:
        return RpcError(ErrorCode.DUPLICATE_REQUEST, "the chain itself is asked for the redemption now", fix="wait")
    return RpcError(ErrorCode.UNKNOWN_MATCH, "the time for this step is over", fix="ask for its match_status")


def _check_syntax(report: Init, asset: AssetBackend) -> ContractTerms:
    _parse_coin(asset, report.coin_id)
    try:
        return asset.family.parse_contract(report.contract)
    except ChainError as error:
        raise refuse(ErrorCode.CONTRACT, error) from error


def _parse_coin(asset: AssetBackend, coin_id: bytes) -> None:
    try:
        asset.family.parse_coin_id(coin_id)
    except CoinIdError as error:
        raise refuse(ErrorCode.CONTRACT, error) from error


def _opens(secret: bytes, secret_hash: bytes) -> bool:
    return len(secret) == SECRET_BYTES and sha256(secret).digest() == secret_hash
