"""What one side did is told to the other: `audit` and `redemption`. Silence, or a bad signature, stops nothing."""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from twinlock.chain.keys import PrivateKey
from twinlock.protocol.codes import RpcError
from twinlock.protocol.messages.swaps import Acknowledgement, Audit, Redemption
from twinlock.protocol.routes import AUDIT, REDEMPTION
from twinlock.protocol.signing import check, signed
from twinlock.protocol.swap import Party
from twinlock.protocol.swap.events import Acknowledged, Step
from twinlock.protocol.wire import Hex
from twinlock.server.comms.hub import Hub
from twinlock.server.db import Database
from twinlock.server.db.matches import change_match
from twinlock.server.swapper.settling import SIDE_NAMES, Settling
from twinlock.server.users.accounts import Accounts

log = structlog.get_logger(__name__)


class Relays:
    """timeout_ms: how long an acknowledgement is waited for."""

    def __init__(self, hub: Hub, database: Database, accounts: Accounts, key: PrivateKey, timeout_ms: int) -> None:
        self._hub = hub
        self._database = database
        self._accounts = accounts
        self._key = key
        self._timeout_ms = timeout_ms

    def contract(self, settling: Settling, side: Party) -> None:
        """Ask the other side to audit the contract of `side`."""
        name, leg = SIDE_NAMES[side], settling.swap.legs[side]
        message = signed(
            self._key,
            Audit(
                order_id=Hex(settling.order(side.other)),
                match_id=Hex(settling.match_id),
                timestamp=getattr(settling.stored, f"{name}_swap_time"),
                coin_id=Hex(leg.coin_id),
                contract=Hex(leg.contract),
                tx=Hex(settling.raw.get(side, b"")),
            ),
        )
        account = settling.account(side.other)
        asked = self._hub.request(account, AUDIT, message, self._timeout_ms)
        column = f"{SIDE_NAMES[side.other]}_audit_sig"
        self._hub.start(self._take_receipt(settling, side, Step.CONTRACT, asked.answer, message, account, column))

    def redemption(self, settling: Settling, side: Party) -> None:
        """Tell the other side that `side` has redeemed, and with which secret."""
        name = SIDE_NAMES[side]
        message = signed(
            self._key,
            Redemption(
                order_id=Hex(settling.order(side.other)),
                match_id=Hex(settling.match_id),
                coin_id=Hex(getattr(settling.stored, f"{name}_redeem_coin")),
                secret=Hex(settling.stored.secret),
                timestamp=getattr(settling.stored, f"{name}_redeem_time"),
            ),
        )
        account = settling.account(side.other)
        asked = self._hub.request(account, REDEMPTION, message, self._timeout_ms)
        column = f"{SIDE_NAMES[side.other]}_redemption_sig"
        self._hub.start(self._take_receipt(settling, side.other, Step.REDEEM, asked.answer, message, account, column))

    async def _take_receipt(
        self,
        settling: Settling,
        leg: Party,
        step: Step,
        answer: Awaitable[Acknowledgement],
        message: Audit | Redemption,
        account_id: bytes,
        column: str,
    ) -> None:
        try:
            receipt = await answer
        except (RpcError, TimeoutError) as error:
            log.info("relay not acknowledged", match=settling.match_id.hex(), step=step.value, reason=str(error))
            return
        account = self._accounts.get(account_id)
        if account is None or not check(account.pubkey, message.signed_bytes(), receipt.sig):
            log.info("acknowledgement not signed", match=settling.match_id.hex(), step=step.value)
            return
        await self._database.write(change_match(settling.match_id, **{column: bytes(receipt.sig)}))
        settling.record(**{column: bytes(receipt.sig)})
        settling.learn(Acknowledged(leg, step))
