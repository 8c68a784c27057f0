"""What returning clients ask: `match_status`, `order_status`, and the matches in the `connect` result."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twinlock.electrum.errors import ElectrumError
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import HASH_BYTES, ORDER_STATUS_BATCH
from twinlock.protocol.messages.status import (
    ActiveMatch,
    MatchStatusRequest,
    MatchStatusResult,
    OrderStatusRequest,
    OrderStatusResult,
)
from twinlock.protocol.orders import OrderStatus
from twinlock.protocol.routes import MATCH_STATUS, ORDER_STATUS
from twinlock.protocol.swap import MatchStatus, Party
from twinlock.protocol.wire import EMPTY, Hex
from twinlock.server.assets import AssetBackend, CoinNotFoundError
from twinlock.server.comms.hub import Call, Hub
from twinlock.server.db import Database
from twinlock.server.db.history import matches_by_id
from twinlock.server.db.matches import StoredMatch
from twinlock.server.db.orders import load_statuses
from twinlock.server.swapper.executor import SwapExecutor
from twinlock.server.swapper.settling import SIDE_NAMES, Settling


class StatusDesk:
    """Answers the two status routes. markets: (base, quote) -> market name."""

    def __init__(
        self,
        hub: Hub,
        database: Database,
        executor: SwapExecutor,
        assets: Mapping[int, AssetBackend],
        markets: Mapping[tuple[int, int], str],
        active_status: Callable[[bytes], OrderStatus | None],
    ) -> None:
        self._database = database
        self._executor = executor
        self._assets = assets
        self._markets = markets
        self._active_status = active_status
        hub.serve(MATCH_STATUS, self.match_status, waits=True)
        hub.serve(ORDER_STATUS, self.order_status, waits=True)

    async def match_status(self, call: Call[list[MatchStatusRequest]]) -> list[MatchStatusResult]:
        """The state of the caller's own matches; others are left out. Raises RpcError 52."""
        for request in call.payload:
            self._check(request.base, request.quote, request.match_id)
        wanted = [bytes(request.match_id) for request in call.payload]
        active = {match_id: self._executor.find(match_id) for match_id in wanted}
        ended = [match_id for match_id, settling in active.items() if settling is None]
        stored = {match.match_id: match for match in await matches_by_id(self._database, ended)}
        results: list[MatchStatusResult] = []
        for match_id in wanted:
            settling = active[match_id]
            match = settling.stored if settling is not None else stored.get(match_id)
            if match is not None and call.account in (match.maker_account, match.taker_account):
                results.append(await self._result(match, settling, call.account))
        return results

    async def order_status(self, call: Call[list[OrderStatusRequest]]) -> list[OrderStatusResult]:
        """The status of the caller's own orders; others are left out. Raises RpcError 52."""
        if not 1 <= len(call.payload) <= ORDER_STATUS_BATCH:
            raise RpcError(ErrorCode.INVALID_REQUEST, f"ask for 1 to {ORDER_STATUS_BATCH} orders")
        for request in call.payload:
            self._check(request.base, request.quote, request.order_id)
        wanted = [bytes(request.order_id) for request in call.payload]
        stored = await load_statuses(self._database, call.account, wanted)
        return [
            OrderStatusResult(id=Hex(order_id), status=int(self._active_status(order_id) or stored[order_id]))
            for order_id in wanted
            if order_id in stored
        ]

    def active_matches(self, account_id: bytes) -> list[ActiveMatch]:
        """The active matches of an account, one entry for each side it plays."""
        return [
            _active_match(settling, side)
            for settling in self._executor.of(account_id)
            for side in settling.sides(account_id)
        ]

    def _check(self, base: int, quote: int, identity: bytes) -> None:
        if (base, quote) not in self._markets:
            raise RpcError(ErrorCode.INVALID_REQUEST, f"no market of {base} and {quote}")
        if len(identity) != HASH_BYTES:
            raise RpcError(ErrorCode.INVALID_REQUEST, f"an ID has {HASH_BYTES} bytes, not {len(identity)}")

    async def _result(self, stored: StoredMatch, settling: Settling | None, account_id: bytes) -> MatchStatusResult:
        maker_tx = taker_tx = b""
        if settling is not None:
            if stored.status == MatchStatus.MAKER_SWAP_CAST and account_id == stored.taker_account:
                maker_tx = await self._raw(settling, Party.MAKER)
            if stored.status == MatchStatus.TAKER_SWAP_CAST and account_id == stored.maker_account:
                taker_tx = await self._raw(settling, Party.TAKER)
        return MatchStatusResult(
            match_id=Hex(stored.match_id),
            status=stored.status,
            maker_contract=_hex(stored.maker_contract),
            taker_contract=_hex(stored.taker_contract),
            maker_swap=_hex(stored.maker_swap_coin),
            taker_swap=_hex(stored.taker_swap_coin),
            maker_redeem=_hex(stored.maker_redeem_coin),
            taker_redeem=_hex(stored.taker_redeem_coin),
            secret=_hex(stored.secret),
            active=stored.active,
            maker_tx=_hex(maker_tx),
            taker_tx=_hex(taker_tx),
        )

    async def _raw(self, settling: Settling, side: Party) -> bytes:
        """The transaction of a contract, from memory or from its chain."""
        if side not in settling.raw:
            leg = settling.swap.legs[side]
            try:
                coin = await self._assets[settling.asset(side)].swap(leg.coin_id, leg.contract)
            except (CoinNotFoundError, ElectrumError):
                return b""
            settling.raw[side] = coin.raw_tx
        return settling.raw[side]


def _active_match(settling: Settling, side: Party) -> ActiveMatch:
    """One entry. The counterparty's address is shown only once both addresses are known.

    A maker whose acknowledgement was lost would otherwise fund a contract that the taker has no address to answer.
    """
    stored = settling.stored
    other = getattr(stored, f"{SIDE_NAMES[side.other]}_swap_address")
    return ActiveMatch(
        order_id=Hex(settling.order(side)),
        match_id=Hex(stored.match_id),
        quantity=stored.quantity,
        rate=stored.rate,
        server_time=stored.match_time,
        address=other if settling.swap.addressed_ms is not None else "",
        fee_rate_base=stored.fee_rate_base,
        fee_rate_quote=stored.fee_rate_quote,
        status=stored.status,
        side=int(side),
    )


def _hex(data: bytes) -> Hex:
    return Hex(data) if data else EMPTY
