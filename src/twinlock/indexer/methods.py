"""The method table: one row a method is the single source of dispatch, parameter checks, versions, costs and docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from twinlock.errors import TwinlockError
from twinlock.kernels.scan import HASHX, hashx

BAD_REQUEST = 1
DAEMON_ERROR = 2
HISTORY_TOO_LARGE = 10001
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_ARGUMENTS = -32602
INTERNAL_ERROR = -32603
PARSE_ERROR = -32700
EXCESSIVE = -101
TIMED_OUT = -102

Version = tuple[int, ...]
VERSIONS: tuple[Version, ...] = ((1, 4), (1, 4, 1), (1, 4, 2), (1, 4, 3), (1, 6))


class RpcError(TwinlockError):
    """An error that the client is told: `number` is the JSON-RPC code."""

    code = "indexer.rpc"
    fault = "peer"

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message, numbers={"number": number})
        self.number = number


def bad_request(message: str) -> RpcError:
    """What the client asked cannot be."""
    return RpcError(BAD_REQUEST, message)


# -- checks of parameters: each takes the decoded JSON value and gives what the handler works with

_SHOWN = 200


def shown(value: Any) -> str:
    """A wrong value, as it is told to who sent it."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_HEX = frozenset("0123456789abcdefABCDEF")


def script_hash(value: Any) -> tuple[str, bytes]:
    """(the text as the client sent it, hashX)."""
    if isinstance(value, str) and len(value) == 64 and _HEX.issuperset(value):
        return value, bytes.fromhex(value)[: -HASHX - 1 : -1]
    raise bad_request(f"{shown(value)} is not a valid script hash")


def script_bytes(value: Any) -> tuple[str, bytes]:
    """(the script as the client sent it, hashX)."""
    if isinstance(value, str) and len(value) % 2 == 0 and len(value) <= 20_000 and _HEX.issuperset(value):
        return value, hashx(bytes.fromhex(value))
    raise bad_request("a script should be hex text")


def script_or_none(value: Any) -> tuple[str, bytes] | None:
    """A script that may be left out."""
    return None if value is None else script_bytes(value)


def block_id(value: Any) -> int | str:
    """A height, or a block's hash."""
    return tx_hash(value) if isinstance(value, str) else natural(value)


def tx_hash(value: Any) -> str:
    """A transaction's hash in display order."""
    if isinstance(value, str) and len(value) == 64 and _HEX.issuperset(value):
        return value.lower()
    raise bad_request(f"{shown(value)} should be a transaction hash")


def natural(value: Any) -> int:
    """A non-negative integer. Text of digits passes, as other servers let it; True does not."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if type(value) is int and 0 <= value < 1 << 63:
        return value
    raise bad_request(f"{shown(value)} should be a non-negative integer")


def natural_or_none(value: Any) -> int | None:
    """A non-negative integer that may be left out."""
    return None if value is None else natural(value)


def integer(value: Any) -> int:
    """Any integer of 64 bits."""
    if type(value) is int and -(1 << 63) <= value < 1 << 63:
        return value
    raise bad_request(f"{shown(value)} should be an integer")


def boolean(value: Any) -> bool:
    """True or False."""
    if value is True or value is False:
        return value
    if type(value) is int and value in (0, 1):
        return bool(value)
    raise bad_request(f"{shown(value)} should be a boolean")


def raw_hex(value: Any) -> str:
    """Hex text of whole bytes."""
    if isinstance(value, str) and len(value) % 2 == 0 and _HEX.issuperset(value):
        return value
    raise bad_request("the raw transaction should be hex text")


def raw_list(value: Any) -> list[str]:
    """A list of raw transactions."""
    if isinstance(value, list) and value and len(value) <= 25:
        return [raw_hex(item) for item in value]
    raise bad_request("raw_txs should be a list of 1 to 25 raw transactions")


def fee_mode(value: Any) -> str | None:
    """How the node should estimate."""
    if value in (None, "CONSERVATIVE", "ECONOMICAL"):
        return value  # type: ignore[no-any-return]
    raise bad_request(f"unknown estimate_fee mode {shown(value)}")


_LARGEST_FEATURES = 10_000


def peer_features(value: Any) -> Any:
    """What another server says of itself; no more than that."""
    if len(msgspec.json.encode(value)) > _LARGEST_FEATURES:
        raise bad_request("the features are too long")
    return value


def anything(value: Any) -> Any:
    """Not checked here."""
    return value


class _Required:
    """Stands for a default that is not there."""


REQUIRED = _Required()


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its name on the wire, its check, and its default. `since`: versions before lack it."""

    name: str
    check: Callable[[Any], Any]
    default: Any = REQUIRED
    since: Version = ()


@dataclass(frozen=True, slots=True)
class Method:
    """One method. `handler` names the function in `handlers`; `since`/`until` bound the versions (until excluded).

    cost: what a plain call is charged, in units of about one subscription to a small script.
    """

    name: str
    handler: str
    params: tuple[Param, ...] = ()
    cost: float = 0.1
    since: Version = (1, 4)
    until: Version = (99,)
    swallow: bool = False
    """Ignore arguments that are not known (only `server.version` does)."""

    @property
    def summary(self) -> str:
        """The line for the documentation."""
        shown = ", ".join(p.name if p.default is REQUIRED else f"{p.name}={p.default!r}" for p in self.params)
        return f"{self.name}({shown})"


_SCRIPT = (Param("scripthash", script_hash),)
_SPK = (Param("scriptpubkey", script_bytes),)
_RANGE = (Param("from_height", natural, 0), Param("to_height", integer, -1))
_POINT = (Param("tx_hash", tx_hash), Param("txout_idx", natural))
_HINT = Param("spk_hint", script_or_none, None)
_CP = Param("cp_height", natural, 0)
_S, _T, _B = "blockchain.scripthash.", "blockchain.transaction.", "blockchain.block."
_K, _O = "blockchain.scriptpubkey.", "blockchain.outpoint."

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "server.version",
            "server_version",
            (Param("client_name", anything, ""), Param("protocol_version", anything, "1.4")),
            cost=0.5,
            swallow=True,
        ),
        Method("server.banner", "banner", cost=0.5),
        Method("server.donation_address", "donation_address"),
        Method("server.features", "features", cost=0.2),
        Method("server.peers.subscribe", "peers", cost=1),
        Method("server.add_peer", "add_peer", (Param("features", peer_features),), cost=100),
        Method("server.ping", "ping"),
        Method(_B + "header", "block_header", (Param("height", natural), _CP), cost=0.25),
        Method(
            _B + "headers", "block_headers", (Param("start_height", natural), Param("count", natural), _CP), cost=0.25
        ),
        Method("blockchain.headers.subscribe", "headers_subscribe", cost=0.25),
        Method("blockchain.headers.get_tip", "headers_tip"),
        Method(
            "blockchain.estimatefee",
            "estimate_fee",
            (Param("number", natural), Param("mode", fee_mode, None, (1, 6))),
        ),
        Method("blockchain.relayfee", "relay_fee", cost=1, until=(1, 6)),
        Method(_S + "get_balance", "get_balance", _SCRIPT, cost=1),
        Method(_S + "get_history", "get_history", _SCRIPT + _RANGE, cost=0.5),
        Method(_S + "get_first_use", "first_use", _SCRIPT, cost=0.5),
        Method(_S + "get_status", "get_status", _SCRIPT, cost=0.3),
        Method(_S + "get_mempool", "get_mempool", _SCRIPT, cost=0.25),
        Method(_S + "listunspent", "list_unspent", _SCRIPT, cost=1),
        Method(_S + "subscribe", "subscribe", _SCRIPT, cost=0.3),
        Method(_S + "unsubscribe", "unsubscribe", _SCRIPT, since=(1, 4, 2)),
        Method(_K + "get_balance", "get_balance", _SPK, cost=1),
        Method(_K + "get_history", "spk_history", _SPK, cost=0.5),
        Method(_K + "get_mempool", "spk_mempool", _SPK, cost=0.25),
        Method(_K + "listunspent", "spk_unspent", _SPK, cost=1),
        Method(_K + "subscribe", "spk_subscribe", _SPK, cost=0.3),
        Method(_K + "unsubscribe", "spk_unsubscribe", _SPK),
        Method(_O + "get_status", "outpoint_status", (*_POINT, _HINT), cost=1),
        Method(_O + "subscribe", "outpoint_subscribe", (*_POINT, _HINT), cost=1),
        Method(_O + "unsubscribe", "outpoint_unsubscribe", _POINT),
        Method("blockchain.utxo.get_info", "utxo_info", (Param("tx_hash", tx_hash), Param("out_n", natural)), cost=1),
        Method("blockchain.header.get", "header_get", (Param("block", block_id),), cost=0.25),
        Method("blockchain.headers.unsubscribe", "headers_unsubscribe"),
        Method(_T + "testmempoolaccept", "test_accept", (Param("raw_txs", raw_list),), cost=1),
        Method(
            _T + "get_confirmed_blockhash",
            "confirmed_blockhash",
            (Param("tx_hash", tx_hash), Param("include_header", boolean, False)),
            cost=0.25,
        ),
        Method("mempool.recent", "recent", cost=1),
        Method(_T + "broadcast", "broadcast", (Param("raw_tx", raw_hex),), cost=0.25),
        Method(
            _T + "broadcast_package",
            "broadcast_package",
            (Param("raw_txs", raw_list), Param("verbose", boolean, False)),
            cost=1,
            since=(1, 6),
        ),
        Method(_T + "get", "transaction_get", (Param("tx_hash", tx_hash), Param("verbose", boolean, False)), cost=1),
        Method(_T + "get_height", "transaction_height", (Param("tx_hash", tx_hash),), cost=0.2),
        Method(
            _T + "get_merkle",
            "transaction_merkle",
            (Param("tx_hash", tx_hash), Param("height", natural_or_none, None)),
            cost=1,
        ),
        Method(
            _T + "id_from_pos",
            "id_from_pos",
            (Param("height", natural), Param("tx_pos", natural), Param("merkle", boolean, False)),
            cost=1,
        ),
        Method("mempool.get_fee_histogram", "fee_histogram", cost=1),
        Method("mempool.get_info", "mempool_info", cost=1, since=(1, 6)),
    )
}


def arguments(method: Method, given: list[Any] | dict[str, Any], version: Version) -> list[Any]:
    """The checked arguments in the order of the row. Raises RpcError."""
    params = [param for param in method.params if param.since <= version] if version else method.params
    if isinstance(given, dict):
        unknown = given.keys() - {param.name for param in params}
        if unknown and not method.swallow:
            raise RpcError(INVALID_ARGUMENTS, f"unknown arguments {sorted(unknown)} to method {method.name!r}")
        values = [given.get(param.name, param.default) for param in params]
    else:
        if len(given) > len(params) and not method.swallow:
            raise RpcError(INVALID_ARGUMENTS, f"{len(given)} arguments passed to method {method.name!r}")
        values = [given[n] if n < len(given) else param.default for n, param in enumerate(params)]
    if REQUIRED in values:
        raise RpcError(INVALID_ARGUMENTS, f"too few arguments passed to method {method.name!r}")
    return [param.check(value) for param, value in zip(params, values, strict=True)]
