"""The protocol's error codes, and the error that carries one of them over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from twinlock.errors import Fault, TwinlockError


class ErrorCode(IntEnum):
    """Codes that travel between client and server (protocol section 1.5).

    The numbers left out belong to a client's own local interface.
    """

    UNSPECIFIED = 0
    PARSE = 1
    UNKNOWN_ROUTE = 2
    INTERNAL = 3
    QUARANTINE = 4
    VERSION_UNSUPPORTED = 5
    UNKNOWN_MATCH = 6
    SERVER_INTERNAL = 7
    SIGNATURE = 22
    SERIALIZATION = 23
    TRANSACTION_UNDISCOVERED = 24
    CONTRACT = 25
    SETTLEMENT_SEQUENCE = 26
    RESULT_LENGTH = 27
    ID_MISMATCH = 28
    REDEMPTION = 29
    ID_TYPE = 30
    ACK_COUNT = 31
    UNKNOWN_RESPONSE_ID = 32
    ORDER_PARAMETER = 33
    UNKNOWN_MARKET_ERROR = 34
    CLOCK_RANGE = 35
    FUNDING = 36
    COIN_AUTH = 37
    UNKNOWN_MARKET = 38
    NOT_SUBSCRIBED = 39
    UNAUTHORIZED = 40
    AUTHENTICATION = 41
    PUBLIC_KEY = 42
    FEE = 43
    INVALID_PREIMAGE = 44
    PREIMAGE_COMMITMENT_MISMATCH = 45
    UNKNOWN_MESSAGE_TYPE = 46
    ACCOUNT_CLOSED = 47
    MARKET_NOT_RUNNING = 48
    TRY_AGAIN_LATER = 49
    ACCOUNT_NOT_FOUND = 50
    UNPAID_ACCOUNT = 51
    INVALID_REQUEST = 52
    QUANTITY_TOO_HIGH = 53
    HTTP_ROUTE = 54
    ROUTE_UNAVAILABLE = 55
    ACCOUNT_SUSPENDED = 57
    TOO_MANY_REQUESTS = 59
    DUPLICATE_REQUEST = 64
    BOND = 66
    BOND_CONFIRMING = 67
    UNKNOWN_ORDER = 89


class RpcError(TwinlockError):
    """A failure that is answered, or was answered, with an error response.

    rpc_code: the number on the wire; a plain int where a peer sent one that `ErrorCode` does not list.
    `code` stays the stable dotted reason for programs; it is `rpc.<name>` unless a caller gives a finer one.
    """

    fault: Fault = "peer"

    def __init__(
        self,
        rpc_code: int,
        message: str,
        *,
        code: str | None = None,
        fault: Fault | None = None,
        numbers: Mapping[str, int | str] | None = None,
        fix: str = "",
    ) -> None:
        self.rpc_code: int = ErrorCode(rpc_code) if rpc_code in _KNOWN else rpc_code
        name = self.rpc_code.name.lower() if isinstance(self.rpc_code, ErrorCode) else str(rpc_code)
        advice = fix or ADVICE.get(self.rpc_code, "")
        super().__init__(message, code=code or f"rpc.{name}", fault=fault, numbers=numbers, fix=advice)


ADVICE: Final[Mapping[int, str]] = {ErrorCode.CLOCK_RANGE: "Set this computer's clock."}
"""What to do about refusals that a peer, who sends no advice, leaves to be guessed."""

_KNOWN = frozenset(int(known) for known in ErrorCode)


def refuse(code: ErrorCode, error: TwinlockError) -> RpcError:
    """The answer on the wire for an error of another package: same reason, numbers and fix, that code."""
    return RpcError(code, str(error), code=error.code, fault=error.fault, numbers=error.numbers, fix=error.fix)
