"""Telling both sides of a match, and collecting where each wants to be paid (protocol section 3.9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import structlog

from twinlock.chain.errors import AddressError
from twinlock.protocol.codes import ErrorCode, RpcError, refuse
from twinlock.protocol.constants import MATCH_TIMEOUT_MS
from twinlock.protocol.messages.swaps import Acknowledgement, CounterpartyAddress, Match
from twinlock.protocol.routes import COUNTERPARTY_ADDRESS, MATCH
from twinlock.protocol.swap import Party
from twinlock.protocol.swap.events import AddressKnown
from twinlock.protocol.wire import Hex
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend
from twinlock.server.comms.hub import Hub
from twinlock.server.db import Database
from twinlock.server.db.matches import StoredMatch, change_match
from twinlock.server.signatures import SignatureDesk
from twinlock.server.swapper.settling import SIDE_NAMES, Settling
from twinlock.server.users.accounts import Accounts

log = structlog.get_logger(__name__)

_PORTION = 100
"""Messages made in one turn of the loop: an account can have thousands of matches in one epoch."""


class Notice(NamedTuple):
    """One side of one match. `settling` is None for a cancel match, which settles nothing."""

    stored: StoredMatch
    side: Party
    settling: Settling | None


class Negotiator:
    """Sends `match` and `counterparty_address`, and judges the answers."""

    def __init__(
        self,
        hub: Hub,
        database: Database,
        accounts: Accounts,
        assets: Mapping[int, AssetBackend],
        signatures: SignatureDesk,
        clock: Clock,
    ) -> None:
        self._hub = hub
        self._database = database
        self._accounts = accounts
        self._assets = assets
        self._signatures = signatures
        self._clock = clock

    def group(self, parties: Iterable[Notice]) -> dict[bytes, list[Notice]]:
        """One request per account."""
        grouped: defaultdict[bytes, list[Notice]] = defaultdict(list)
        for party in parties:
            stored = party.stored
            account = stored.maker_account if party.side is Party.MAKER else stored.taker_account
            grouped[account].append(party)
        return dict(grouped)

    async def tell(self, account_id: bytes, parties: Sequence[Notice]) -> None:
        """Tell an account its matches, and take its answer in."""
        messages: list[Match] = []
        for start in range(0, len(parties), _PORTION):
            portion = [_message(party) for party in parties[start : start + _PORTION]]
            messages += await self._signatures.signed(portion)
        asked = self._hub.request(account_id, MATCH, messages, MATCH_TIMEOUT_MS)
        try:
            answers = await asked.answer
        except (RpcError, TimeoutError) as error:
            log.info("match not acknowledged", account=account_id.hex(), reason=str(error))
            return
        try:
            if len(answers) != len(parties):
                raise RpcError(ErrorCode.ACK_COUNT, f"{len(answers)} acknowledgements for {len(parties)} matches")
            for party, message, answer in zip(parties, messages, answers, strict=True):
                await self._take(account_id, party, message, answer)
        except RpcError as error:
            self._hub.reject(account_id, asked, error)

    async def send_addresses(self, settlings: Iterable[tuple[Settling, Party]]) -> None:
        """Tell sides of matches where the other one wants to be paid, once both are known."""
        ready = [(settling, side) for settling, side in settlings if settling.swap.addressed_ms is not None]
        notes = await self._signatures.signed([_address(settling, side) for settling, side in ready])
        for (settling, side), note in zip(ready, notes, strict=True):
            self._hub.send(settling.account(side), COUNTERPARTY_ADDRESS, note)

    async def _take(self, account_id: bytes, party: Notice, message: Match, answer: Acknowledgement) -> None:
        """One acknowledgement. Raises RpcError 28, 22 or 33."""
        if answer.match_id != message.match_id:
            raise RpcError(ErrorCode.ID_MISMATCH, f"{answer.match_id.hex()[:16]} is not the match that was asked")
        account = self._accounts.get(account_id)
        if account is None:
            return
        await self._signatures.require(account.pubkey, message.signed_bytes(), answer.sig)
        columns: dict[str, object] = {f"{SIDE_NAMES[party.side]}_match_sig": bytes(answer.sig)}
        settling = party.settling
        if settling is None:
            await self._database.write(change_match(party.stored.match_id, **columns))
            return
        await self._take_address(settling, party.side, answer.address, columns)

    async def _take_address(self, settling: Settling, side: Party, address: str, columns: dict[str, object]) -> None:
        received = self._assets[settling.asset(side.other)]
        try:
            received.family.check_receive_address(address)
        except AddressError as error:
            raise refuse(ErrorCode.ORDER_PARAMETER, error) from error
        if settling.swap.addresses[side]:
            return
        now = self._clock.now_ms()
        columns |= {f"{SIDE_NAMES[side]}_swap_address": address, "addresses_time": now}
        await self._database.write(change_match(settling.match_id, **columns))
        settling.record(**columns)
        settling.learn(AddressKnown(side, address, now))
        await self.send_addresses((settling, told) for told in Party)


def _message(party: Notice) -> Match:
    """Unsigned."""
    stored, side = party.stored, party.side
    maker = side is Party.MAKER
    return Match(
        order_id=Hex(stored.maker_order if maker else stored.taker_order),
        match_id=Hex(stored.match_id),
        quantity=stored.quantity,
        rate=stored.rate,
        server_time=stored.match_time,
        address=stored.taker_address if maker else stored.maker_address,
        fee_rate_base=stored.fee_rate_base,
        fee_rate_quote=stored.fee_rate_quote,
        status=0,
        side=int(side),
    )


def _address(settling: Settling, side: Party) -> CounterpartyAddress:
    """Unsigned."""
    return CounterpartyAddress(
        order_id=Hex(settling.order(side)),
        match_id=Hex(settling.match_id),
        address=settling.swap.addresses[side.other],
    )
