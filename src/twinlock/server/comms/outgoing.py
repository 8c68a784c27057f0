"""What leaves for clients, as WebSocket frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from twinlock.protocol import envelope
from twinlock.protocol.codes import RpcError
from twinlock.protocol.routes import Route
from twinlock.server.comms.frames import Opcode, encode, head
from twinlock.server.comms.link import Link

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Spliced:
    """A result whose long part many answers share, and none of them copies: JSON in three pieces."""

    before: bytes
    shared: bytes
    after: bytes

    def __len__(self) -> int:
        return len(self.before) + len(self.shared) + len(self.after)


def text_frame(message: bytes) -> bytes:
    """The WebSocket frame of an encoded message."""
    return encode(Opcode.TEXT, message)


def notification_frame(route: Route[P, None], payload: P) -> bytes:
    """One frame, good for any number of links."""
    return text_frame(envelope.notification(route.name, payload))


def answer(link: Link, number: int, result: Any) -> None:
    """Answer the request of that number."""
    if isinstance(result, Spliced):
        before, after = envelope.around_result(number)
        opening = head(Opcode.TEXT, len(before) + len(result) + len(after)) + before
        link.send_long((opening + result.before, result.shared, result.after + after))
    else:
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
