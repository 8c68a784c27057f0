"""Errors of the trader's side. Each carries a stable code, whose fault it is and what to do next."""

from __future__ import annotations

from twinlock.errors import Fault, TwinlockError


class ClientError(TwinlockError):
    """Any failure that the client raises on purpose."""

    code = "client.error"
    fault: Fault = "user"


class StoreError(ClientError):
    """The client's store cannot be opened, read or written."""

    code = "store.error"
    fault: Fault = "machine"


class StoreLockedError(StoreError):
    """Another process holds this store."""

    code = "store.locked"
    fault: Fault = "user"


class StoreCorruptError(StoreError):
    """The store failed its integrity check, or a record does not authenticate."""

    code = "store.corrupt"


class WrongPasswordError(StoreError):
    """The password does not open this store."""

    code = "store.password"
    fault: Fault = "user"


class ConfigError(ClientError):
    """The configuration file does not parse or asks for something impossible."""

    code = "client.config"


class SessionError(ClientError):
    """The connection to the exchange server failed, timed out or broke the protocol."""

    code = "session.error"
    fault: Fault = "server"


class MisbehaviourError(SessionError):
    """The server sent something that an honest server never sends: a wrong signature, ID or address."""

    code = "session.misbehaved"


class VersionMismatchError(SessionError):
    """The server speaks another version of the protocol. `numbers` holds ours and theirs."""

    code = "session.version"


class OrderError(ClientError):
    """An order cannot be placed as asked."""

    code = "order.error"


class BondError(ClientError):
    """A bond cannot be made, posted or refunded now."""

    code = "bond.error"


class AccountSharedError(SessionError):
    """Another client seems to use the same account: the server closes our connection whenever that one logs in."""

    code = "session.shared"
    fault: Fault = "user"


class LinkClosedError(SessionError):
    """The socket to the server is gone, or could not be opened."""

    code = "session.closed"


class RequestTimeoutError(SessionError):
    """The server did not answer in time; the request may or may not have been handled."""

    code = "session.timeout"


class NotConnectedError(SessionError):
    """The request needs a connection to the server, and there is none now."""

    code = "session.offline"
