"""Errors of the server that are not answers on the wire (those are `twinlock.protocol.codes.RpcError`)."""

from __future__ import annotations

from twinlock.errors import Fault, TwinlockError


class ServerError(TwinlockError):
    """Something that the operator has to see."""

    code = "server.error"
    fault: Fault = "server"


class ConfigError(ServerError):
    """The configuration cannot be run; the message names the member and the fix says what to write."""

    code = "server.config"
    fault = "user"
