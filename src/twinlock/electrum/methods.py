"""The table of the Electrum methods that a client calls, and the typed shape of every answer.

A `Method` knows its name and how to decode its answer; decoding is strict (no float or text where an integer
belongs, hashes are 64 lower-case hex digits), so that an answer of another shape is a named fault, not a surprise
further in. Hashes are display hex, that is byte-reversed; amounts are atoms; heights follow the history rule
(> 0 in that block, 0 in the mempool, -1 in the mempool with an unconfirmed parent).

Source: the Electrum protocol, versions 1.4 to 1.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from .errors import LyingServerError

T = TypeVar("T")
Version = tuple[int, ...]

PROTOCOL_MIN: Version = (1, 4)
PROTOCOL_MAX: Version = (1, 6)

HashText = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
HeaderText = Annotated[str, Meta(pattern="^([0-9a-f]{2}){80,}$", max_length=2_000_000)]
"""80 bytes, and of merged-mined coins the proof of work that follows them; the coin's reader takes nothing more."""
HexText = Annotated[str, Meta(pattern="^([0-9a-f]{2})*$")]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
Height = Annotated[int, Meta(ge=-1, lt=2**31)]
Branch = Annotated[list[HashText], Meta(max_length=30)]
"""A Merkle branch; 2^30 transactions do not fit into a block."""


class HeaderReply(msgspec.Struct, frozen=True):
    """The tip, as `blockchain.headers.subscribe` gives and announces it."""

    height: Count
    hex: HeaderText


class HeadersReply(msgspec.Struct, frozen=True):
    """A run of headers: joined text in `hex` below version 1.6, a list in `headers` from 1.6 on."""

    count: Count
    max: Count
    hex: str | None = None
    headers: Annotated[list[HeaderText], Meta(max_length=10_000)] | None = None


class HistoryItem(msgspec.Struct, frozen=True):
    """A transaction that touches a script. `fee` (atoms) is told of mempool transactions only."""

    tx_hash: HashText
    height: Height
    fee: Count | None = None


class UnspentItem(msgspec.Struct, frozen=True):
    """An unspent output of a script; height 0 in the mempool."""

    tx_hash: HashText
    tx_pos: Count
    height: Count
    value: Count


class MerkleReply(msgspec.Struct, frozen=True):
    """The proof that a transaction stands at `pos` in the block at `block_height`."""

    block_height: Count
    merkle: Branch
    pos: Count


class FeaturesReply(msgspec.Struct, frozen=True):
    """What a server says of itself; more members are allowed and ignored."""

    genesis_hash: HashText
    server_version: str = ""
    protocol_min: str = ""
    protocol_max: str = ""
    pruning: int | None = None


class MempoolInfoReply(msgspec.Struct, frozen=True):
    """Fee rates in whole coins per 1,000 vbytes, exact."""

    mempoolminfee: Decimal
    minrelaytxfee: Decimal
    incrementalrelayfee: Decimal = Decimal(0)


@dataclass(frozen=True)
class Method(Generic[T]):
    """One row of the table: the name on the wire, the shape of the answer, the first version that has it."""

    name: str
    decoder: msgspec.json.Decoder[T]
    since: Version = PROTOCOL_MIN

    def decode(self, result: msgspec.Raw) -> T:
        """The answer in its type. Raises LyingServerError (``type``)."""
        try:
            return self.decoder.decode(result)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise LyingServerError("type", f"{self.name}: the answer is not of its type: {error}") from error


def _method(name: str, shape: Any, since: Version = PROTOCOL_MIN) -> Method[Any]:
    return Method(name, msgspec.json.Decoder(shape), since)


VERSION: Method[tuple[str, str]] = _method("server.version", tuple[str, str])
FEATURES: Method[FeaturesReply] = _method("server.features", FeaturesReply)
PING: Method[msgspec.Raw] = _method("server.ping", msgspec.Raw)
"""Whatever the answer is, it is not looked into."""
BANNER: Method[str] = _method("server.banner", str)

HEADERS_SUBSCRIBE: Method[HeaderReply] = _method("blockchain.headers.subscribe", HeaderReply)
BLOCK_HEADER: Method[str] = _method("blockchain.block.header", HeaderText)
BLOCK_HEADERS: Method[HeadersReply] = _method("blockchain.block.headers", HeadersReply)

SCRIPT_SUBSCRIBE: Method[str | None] = _method("blockchain.scripthash.subscribe", HashText | None)
SCRIPT_UNSUBSCRIBE: Method[bool] = _method("blockchain.scripthash.unsubscribe", bool, (1, 4, 2))
SCRIPT_HISTORY: Method[list[HistoryItem]] = _method("blockchain.scripthash.get_history", list[HistoryItem])
SCRIPT_UNSPENT: Method[list[UnspentItem]] = _method("blockchain.scripthash.listunspent", list[UnspentItem])

TRANSACTION: Method[str] = _method("blockchain.transaction.get", HexText)
MERKLE: Method[MerkleReply] = _method("blockchain.transaction.get_merkle", MerkleReply)
BROADCAST: Method[str] = _method("blockchain.transaction.broadcast", HashText)

ESTIMATE_FEE: Method[Decimal] = _method("blockchain.estimatefee", Decimal)
RELAY_FEE: Method[Decimal] = _method("blockchain.relayfee", Decimal)
MEMPOOL_INFO: Method[MempoolInfoReply] = _method("mempool.get_info", MempoolInfoReply, (1, 6))

HEADER_NOTE: msgspec.json.Decoder[tuple[HeaderReply]] = msgspec.json.Decoder(tuple[HeaderReply])
SCRIPT_NOTE: msgspec.json.Decoder[tuple[str, str | None]] = msgspec.json.Decoder(tuple[HashText, HashText | None])
"""The params of the two notifications: the new tip, and (scripthash, status)."""


def parse_version(text: str) -> Version:
    """ "1.4.2" as (1, 4, 2), so that versions compare as they should: 1.4 < 1.4.1, 1.10 > 1.9.

    Raises LyingServerError (``version``) for anything else.

    >>> parse_version("1.4") < parse_version("1.4.1") < parse_version("1.10")
    True
    """
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        raise LyingServerError("version", f"{text[:40]!r} is not a protocol version")
    return tuple(int(part) for part in parts)


def version_text(version: Version) -> str:
    """(1, 4, 2) as "1.4.2"."""
    return ".".join(map(str, version))
