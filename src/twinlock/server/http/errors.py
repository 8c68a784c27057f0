"""Refusals over HTTP."""

from __future__ import annotations

from twinlock.errors import Fault
from twinlock.server.errors import ServerError


class ApiError(ServerError):
    """A refusal with its HTTP status; `code` is stable."""

    fault: Fault = "user"

    def __init__(self, status: int, code: str, message: str, *, fix: str = "") -> None:
        super().__init__(message, code=code, fix=fix)
        self.status = status


class InternalError(ApiError):
    """Our own defect; the web server's log has all of it."""

    fault: Fault = "twinlock"

    def __init__(self, *, code: str) -> None:
        super().__init__(500, code, "something that should not happen", fix="look at the server's log")


def data_api_off() -> ApiError:
    """The operator switched it off."""
    return ApiError(503, "api.off", "the data API is switched off", fix="ask the operator")
