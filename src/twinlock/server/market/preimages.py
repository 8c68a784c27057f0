"""Asking for an epoch's preimages: one request per order, all at once (protocol sections 3.10 and 6.3)."""

from __future__ import annotations

import asyncio

import structlog

from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import HASH_BYTES, PREIMAGE_TIMEOUT_MS
from twinlock.protocol.messages.orders import PreimageRequest
from twinlock.protocol.orders import Order, commit
from twinlock.protocol.routes import PREIMAGE
from twinlock.protocol.wire import Hex
from twinlock.seams import Clock
from twinlock.server.comms.hub import Hub
from twinlock.server.market.core import Closed

# How often absent owners are looked for after a restart.
_RETURN_POLL_S = 0.2

log = structlog.get_logger(__name__)


async def collect(hub: Hub, closed: Closed) -> dict[bytes, bytes]:
    """Order ID -> preimage of everyone who revealed in time; whoever is missing missed."""
    answers = await asyncio.gather(*(_ask(hub, order, closed.csum) for order in closed.orders))
    return {order.id: preimage for order, preimage in zip(closed.orders, answers, strict=True) if preimage}


async def collect_resumed(hub: Hub, clock: Clock, closed: Closed) -> dict[bytes, bytes]:
    """The same after a restart: the owners first get a preimage's time to come back."""
    owners = {order.account_id for order in closed.orders}
    deadline = clock.now_ms() + PREIMAGE_TIMEOUT_MS
    while clock.now_ms() < deadline and any(hub.link_of(owner) is None for owner in owners):
        await clock.sleep(_RETURN_POLL_S)
    return await collect(hub, closed)


async def _ask(hub: Hub, order: Order, csum: bytes) -> bytes:
    """The preimage, or b"" for a miss."""
    question = PreimageRequest(order_id=Hex(order.id), commitment=Hex(order.commitment), csum=Hex(csum))
    asked = hub.request(order.account_id, PREIMAGE, question, PREIMAGE_TIMEOUT_MS)
    try:
        preimage = bytes((await asked.answer).preimage)
    except (RpcError, TimeoutError) as error:
        log.info("preimage missed", order=order.id.hex(), reason=str(error))
        return b""
    if len(preimage) != HASH_BYTES:
        code, message = ErrorCode.INVALID_PREIMAGE, f"a preimage has {HASH_BYTES} bytes, not {len(preimage)}"
    elif commit(preimage) != order.commitment:
        code, message = ErrorCode.PREIMAGE_COMMITMENT_MISMATCH, "the preimage does not hash to the commitment"
    else:
        return preimage
    hub.reject(order.account_id, asked, RpcError(code, message))
    return b""
