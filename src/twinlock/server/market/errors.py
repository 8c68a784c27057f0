"""Refusals by the market itself; all but one travel as code 34 (protocol section 5.7, row 22)."""

from __future__ import annotations

from twinlock.protocol.codes import ErrorCode, RpcError


class MarketError(RpcError):
    """The market refuses an order that was valid by itself."""

    def __init__(self, reason: str, message: str, *, fix: str = "", **numbers: int | str) -> None:
        super().__init__(
            ErrorCode.UNKNOWN_MARKET_ERROR, message, code=f"order.{reason}", fault="user", numbers=numbers, fix=fix
        )


class EpochMissedError(MarketError):
    """The order's epoch is closed."""

    def __init__(self, epoch: int, first_open: int) -> None:
        super().__init__("epoch_missed", f"epoch {epoch} is closed", fix="send the order again", first_open=first_open)


class CommitmentReusedError(MarketError):
    """Another order of a running epoch has the same commitment."""

    def __init__(self) -> None:
        super().__init__("commitment_reused", "the commitment is used by another order", fix="draw a new preimage")


class ExpiryError(MarketError):
    """The order would expire so soon that its expiry were a cancel that nobody counts."""

    def __init__(self, expiry: int, least: int) -> None:
        message = "an order must live through its own epoch and the next"
        super().__init__("expiry", message, fix="name a later expiry, or none", expiry=expiry, least=least)


class NotCancellableError(RpcError):
    """Nothing cancellable has that ID."""

    def __init__(self, target: bytes) -> None:
        super().__init__(
            ErrorCode.UNKNOWN_ORDER,
            f"order {target.hex()[:16]} is not booked here",
            code="order.not_cancellable",
            fault="user",
        )


class TargetTakenError(MarketError):
    """The target may not be cancelled by this order."""

    def __init__(self, message: str) -> None:
        super().__init__("target", message)


class CancelLimitError(MarketError):
    """Too many cancels of one account in one epoch."""

    def __init__(self, cancels: int, limit: int) -> None:
        super().__init__(
            "cancel_limit",
            f"{cancels} cancels in this epoch already, {limit} allowed",
            fix="wait for the next epoch",
            cancels=cancels,
            limit=limit,
        )


def refused(code: ErrorCode, reason: str, message: str, *, fix: str = "", **numbers: int | str) -> RpcError:
    """An order that is not valid by itself: the wire's code, a stable reason, the numbers and the fix."""
    return RpcError(code, message, code=f"order.{reason}", fault="user", numbers=numbers, fix=fix)
