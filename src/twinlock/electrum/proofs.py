"""Is this history possible, and does that block hold this transaction? Pure checks of what a server says."""

from __future__ import annotations

from collections.abc import Sequence

from twinlock.chain import merkle
from twinlock.chain.errors import ChainError
from twinlock.chain.header import Header
from twinlock.chain.tx import Tx

from .errors import LyingServerError
from .methods import HistoryItem, MerkleReply


def check_history(history: Sequence[HistoryItem]) -> None:
    """Blocks first, rising, then the mempool, no transaction twice. Raises LyingServerError (``history``)."""
    if len({item.tx_hash for item in history}) != len(history):
        raise LyingServerError("history", "a history names a transaction twice", entries=len(history))
    confirmed = [item.height for item in history if item.height > 0]
    if confirmed != sorted(confirmed) or any(item.height > 0 for item in history[len(confirmed) :]):
        raise LyingServerError("history", "a history is out of order", entries=len(history))


def check_inclusion(txid: str, proof: MerkleReply, header: Header, height: int) -> None:
    """The branch leads from the transaction to the header's root. Raises LyingServerError (``merkle``)."""
    if proof.block_height != height:
        raise LyingServerError("merkle", f"a proof for another block than asked for, of {txid}", height=height)
    branch = [bytes.fromhex(sibling)[::-1] for sibling in proof.merkle]
    try:
        merkle.check_inclusion(bytes.fromhex(txid)[::-1], branch, proof.pos, header.merkle_root)
    except ChainError as error:
        raise LyingServerError("merkle", f"{txid} is not proven to be in its block: {error}", height=height) from error


def parse_transaction(txid: str, text: str) -> tuple[bytes, Tx]:
    """The raw bytes and the transaction, if they are of that ID. Raises LyingServerError (``txid``)."""
    raw = bytes.fromhex(text)
    try:
        tx = Tx.parse(raw)
    except ChainError as error:
        raise LyingServerError("txid", f"what should be transaction {txid} is none: {error}") from error
    if tx.txid != txid:
        raise LyingServerError("txid", f"transaction {tx.txid} in place of {txid}")
    return raw, tx
