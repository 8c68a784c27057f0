"""Errors of the server that are not answers on the wire (those are `twinlock.protocol.codes.RpcError`)."""

from __future__ import annotations

from twinlock.errors import Fault, TwinlockError


class ServerError(TwinlockError):
    """Something that the operator has to see."""

    code = "server.error"
    fault: Fault = "server"


class ListenError(ServerError):
    """An address to listen on cannot be had: another program has it, or it is not this machine's."""

    code = "server.listen"
    fault = "machine"


class ConfigError(ServerError):
    """The configuration cannot be run; the message names the member and the fix says what to write."""

    code = "server.config"
    fault = "user"
