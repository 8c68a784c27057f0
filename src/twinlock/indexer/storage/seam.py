"""The seam between the indexer and its storage: what is known of the confirmed chain, and how it changes.

Block and transaction hashes are 32 bytes in internal order; heights begin at 0; a position is a transaction's
place in its block; values are atoms. `hashx` is the first 11 bytes of sha256(script).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from twinlock.kernels.scan import Scan


class Unspent(NamedTuple):
    """An unspent output. `position` is its transaction's place in the block."""

    tx_hash: bytes
    vout: int
    height: int
    position: int
    value: int


class Output(NamedTuple):
    """Whom an output pays, and what."""

    hashx: bytes
    value: int


class Place(NamedTuple):
    """Where a transaction stands in the chain."""

    height: int
    position: int


class Spot(NamedTuple):
    """Where the node keeps a block: number of the block file, position of the block in it, size in bytes."""

    file: int
    position: int
    size: int


class Answers(Protocol):
    """The answers that can be large."""

    def status(self, hashx: bytes, tail: bytes, progress: bytes = b"") -> tuple[str | None, bytes]: ...

    def history_json(self, hashx: bytes, start: int = 0, end: int = -1) -> bytes: ...

    def unspent_json(self, hashx: bytes, excluded: bytes) -> bytes: ...


class Index(Protocol):
    """The confirmed chain as wallets ask about it."""

    @property
    def height(self) -> int:
        """Height of the tip; -1 when there is no block."""
        ...

    def block_hash(self, height: int) -> bytes: ...

    def header(self, height: int) -> bytes: ...

    def headers(self, start: int, end: int) -> bytes:
        """The headers of heights `start` to `end` (excluded), joined."""
        ...

    def spot(self, height: int) -> Spot | None:
        """Where the node keeps the block; None when that is not known."""
        ...

    def history(self, hashx: bytes, start: int = 0, end: int = -1, most: int = 0) -> list[tuple[bytes, int]]:
        """(transaction hash, height) of every transaction that touches the script, in chain order.

        Of heights `start` to `end` (excluded; -1: all that follow) only, the first `most` of them where that is not 0.
        """
        ...

    def unspent(self, hashx: bytes) -> list[Unspent]:
        """Outputs that pay the script and are not spent in the chain, in chain order."""
        ...

    def balance(self, hashx: bytes) -> int:
        """The sum of `unspent`."""
        ...

    def output(self, tx_hash: bytes, vout: int) -> Output | None:
        """An output that is not spent in the chain."""
        ...

    def status(self, hashx: bytes, tail: bytes, progress: bytes = b"") -> tuple[str | None, bytes]:
        """The status hash, None when nothing touches the script; `tail` is the text of the mempool's entries.

        The second value, given back as `progress`, makes the next status cheap; good until a block that touches the
        script is undone.
        """
        ...

    def history_size(self, hashx: bytes, start: int = 0, end: int = -1) -> int:
        """Entries of the history, or of some heights."""
        ...

    def snapshot(self) -> Answers:
        """What may be asked in another thread: it stays as it is now."""
        ...

    def history_json(self, hashx: bytes, start: int = 0, end: int = -1) -> bytes:
        """The history as a JSON list of the protocol's objects."""
        ...

    def unspent_json(self, hashx: bytes, excluded: bytes) -> bytes:
        """The unspent outputs likewise, without those in `excluded` (rows of `kernels.index.POINT`)."""
        ...

    def find(self, tx_hash: bytes) -> Place | None:
        """Where the transaction is."""
        ...

    def tx_hashes(self, height: int) -> bytes:
        """The block's transaction hashes, 32 bytes each."""
        ...

    def tx_span(self, height: int, position: int) -> tuple[int, int]:
        """(offset, size) of a transaction in its raw block."""
        ...


class Touched(Protocol):
    """What a block changed. Made when first asked for: a first sync never asks."""

    @property
    def scripts(self) -> set[bytes]:
        """hashX of all scripts whose history or coins changed."""
        ...

    @property
    def tx_hashes(self) -> list[bytes]:
        """The block's transactions."""
        ...

    @property
    def spent(self) -> list[tuple[bytes, int]]:
        """The outpoints that it spends."""
        ...


class Storage(Index, Protocol):
    """An index that grows and shrinks at its tip. What `append` returned from survives a crash."""

    def append(self, block_hash: bytes, scan: Scan, spot: Spot | None = None) -> Touched:
        """Add the next block."""
        ...

    def undo(self) -> Touched:
        """Drop the tip block. Raises StorageError when it lies deeper than what can be undone."""
        ...

    def close(self) -> None: ...
