"""What leaves for clients, as WebSocket frames."""

from __future__ import annotations

from typing import Any, TypeVar

from twinlock.protocol import envelope
from twinlock.protocol.codes import RpcError
from twinlock.protocol.routes import Route
from twinlock.server.comms.frames import Opcode, encode
from twinlock.server.comms.link import Link

P = TypeVar("P")


def text_frame(message: bytes) -> bytes:
    """The WebSocket frame of an encoded message."""
    return encode(Opcode.TEXT, message)


def notification_frame(route: Route[P, None], payload: P) -> bytes:
    """One frame, good for any number of links."""
    return text_frame(envelope.notification(route.name, payload))


def answer(link: Link, number: int, result: Any) -> None:
    """Answer the request of that number."""
    link.send_frame(text_frame(envelope.response(number, result)))


def complain(link: Link, number: int, error: RpcError) -> None:
    """Answer that number with an error."""
    link.send_frame(text_frame(envelope.error_response(number, explained(error))))


def explained(error: RpcError) -> RpcError:
    """The error with everything that helps in its text, which is all that travels beside the code.

    >>> lot = RpcError(33, "no whole lots", code="order.lot_size", numbers={"lot_size": 5}, fix="Round it.")
    >>> str(explained(lot))
    'no whole lots [order.lot_size] (lot_size 5). Round it.'
    """
    numbers = ", ".join(f"{name} {value}" for name, value in error.numbers.items())
    text = f"{error} [{error.code}]" + (f" ({numbers})" if numbers else "") + (f". {error.fix}" if error.fix else "")
    return RpcError(error.rpc_code, text, code=error.code)
