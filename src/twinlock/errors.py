"""The root of every error that Twinlock raises on purpose.

An error says what happened (`code`, stable, for programs; the message, for people), whose fault it
was, the numbers that led to it, and what to do next. Packages subclass `TwinlockError` with their own
codes; nothing in Twinlock raises a bare `Exception`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Fault = Literal["user", "peer", "server", "node", "chain", "machine", "twinlock"]
"""Who has to act: the person or program that called us, the other side of a connection, the exchange
server, the coin's node, the chain itself, this computer, or Twinlock's own code (a defect)."""


class TwinlockError(Exception):
    """An expected failure.

    code: stable dotted name, such as ``order.lot_size``; never renamed once released.
    fault: who has to act.
    numbers: the values that led to the refusal (atoms, milliseconds, bytes), safe to show.
    fix: one sentence that tells what to do next; empty where nothing can be done.
    """

    code: str = "twinlock.error"
    fault: Fault = "twinlock"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fault: Fault | None = None,
        numbers: Mapping[str, int | str] | None = None,
        fix: str = "",
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        if fault is not None:
            self.fault = fault
        self.numbers: dict[str, int | str] = dict(numbers or {})
        self.fix = fix
