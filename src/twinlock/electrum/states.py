"""What a chain view tells: values without behaviour, all frozen."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from twinlock.chain.terms import CoinPoint

from .methods import HistoryItem


class Tip(msgspec.Struct, frozen=True):
    """The best block. block_hash: display hex; header: 80 bytes; median_time: s, of the last 11 blocks (BIP 113)."""

    height: int
    block_hash: str
    header: bytes
    median_time: int


class HistoryEntry(msgspec.Struct, frozen=True):
    """A transaction that touches a script.

    height: its block's, proven against verified headers; None in the mempool. unsafe: in the mempool with a
    parent that is there too.
    """

    txid: str
    height: int | None
    unsafe: bool = False


class ScriptState(msgspec.Struct, frozen=True):
    """All that the chain and the mempool know of one output script.

    history: blocks first, in their order, then the mempool. tip_height: the tip under which it was read. older: IDs
    that the server names below the height from which it was read; nothing of them is proven.
    """

    script: bytes
    history: tuple[HistoryEntry, ...]
    tip_height: int
    older: tuple[str, ...] = ()

    def find(self, txid: str) -> HistoryEntry | None:
        """The entry of that transaction."""
        return next((entry for entry in self.history if entry.txid == txid), None)

    def reaches_above(self, height: int) -> bool:
        """Does any block above that height touch the script?"""
        return any(entry.height is not None and entry.height > height for entry in self.history)


class Unspent(msgspec.Struct, frozen=True):
    """An unspent output as a server lists it. value: atoms; height: None in the mempool."""

    point: CoinPoint
    value: int
    height: int | None


class OutputStatus(msgspec.Struct, frozen=True):
    """One output and what became of it.

    value: atoms. height: block of its transaction, None in the mempool. confirmations: 0 in the mempool.
    spender: ID of the transaction that spends it, None if unspent; spender_height: its block, None in the mempool.
    coinbase: mined, so not to be spent before maturity.
    """

    point: CoinPoint
    script: bytes
    value: int
    height: int | None
    confirmations: int
    spender: str | None = None
    spender_height: int | None = None
    coinbase: bool = False

    @property
    def unspent(self) -> bool:
        """Nothing spends it, not even in the mempool."""
        return self.spender is None


class TxProof(msgspec.Struct, frozen=True):
    """Where a transaction stands: in the block at `height`, at `position`; branch: 32 bytes each, internal order."""

    height: int
    position: int
    branch: tuple[bytes, ...]


def status_hash(history: list[HistoryItem]) -> str | None:
    """The protocol's fingerprint of a history in its order, hex; None for an empty one.

    >>> status_hash([HistoryItem("0" * 63 + "1", 1)])
    'e5f2ff15051aa1e0dec57df3ff2498de19f54693f9325b1d0008b049c0d19052'
    """
    if not history:
        return None
    return sha256("".join(f"{item.tx_hash}:{item.height}:" for item in history).encode()).hexdigest()
