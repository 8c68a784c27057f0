"""Merged mining: a header whose work another chain's block did, and the proof of it that follows the header (AuxPoW).

The other block's coinbase commits to the root of a tree of block hashes, one for each chain that is mined along; the
place of a chain in that tree follows from its ID, so that no work counts twice for one chain.
"""

from __future__ import annotations

import msgspec

from twinlock.chain import header as headers
from twinlock.chain.coin import Coin
from twinlock.chain.errors import InclusionError
from twinlock.chain.header import HEADER_SIZE, Header
from twinlock.chain.merkle import check_inclusion, fold
from twinlock.chain.tx import Tx
from twinlock.chain.wire import Reader

MERGED = 0x100
"""The bit of a version that says that a proof follows."""

MAGIC = bytes.fromhex("fabe6d6d")
"""What stands before the root in the other chain's coinbase; the first blocks of merged mining went without."""

ROOT_AT_MOST = 20
"""Where the root has to begin in a coinbase without `MAGIC`."""


class MergedWork(msgspec.Struct, frozen=True):
    """parent: the other chain's header. branch: of its coinbase. chain_branch, chain_index: of our hash in the tree."""

    coinbase: Tx
    branch: tuple[bytes, ...]
    index: int
    chain_branch: tuple[bytes, ...]
    chain_index: int
    parent: Header


def is_merged(coin: Coin, header: Header) -> bool:
    """Whether the header's work stands in a proof that follows it."""
    return coin.auxpow and bool(header.version & MERGED)


def read_header(coin: Coin, reader: Reader) -> tuple[Header, MergedWork | None]:
    """A header with its proof, if it has one. Raises MalformedError."""
    header = Header.parse(reader.take(HEADER_SIZE))
    return header, _read_work(reader) if is_merged(coin, header) else None


def check_work(coin: Coin, header: Header, work: MergedWork) -> None:
    """The proof is about this header, and the work in it suffices for its target. Raises InclusionError."""
    if header.version >> 16 != coin.auxpow_id or work.parent.version >> 16 == coin.auxpow_id:
        raise _wrong("the chain does not work for itself", "chain")
    if work.index:
        raise _wrong("the other chain's transaction is no coinbase", "coinbase")
    root = fold(header.hash, work.chain_branch, work.chain_index)
    check_inclusion(work.coinbase.hash, work.branch, 0, work.parent.merkle_root)
    _check_commitment(coin, work, root[::-1])
    digest = headers.PROOF_OF_WORK[coin.proof_of_work](work.parent.serialize())
    if int.from_bytes(digest, "little") > headers.target(header.bits):
        raise _wrong("the other chain's block has too little work", "work")


def _check_commitment(coin: Coin, work: MergedWork, root: bytes) -> None:
    if not work.coinbase.inputs:
        raise _wrong("the other chain's transaction is no coinbase", "coinbase")
    script = work.coinbase.inputs[0].script
    at, magic = script.find(root), script.find(MAGIC)
    if at < 0 or (magic < 0 and at > ROOT_AT_MOST):
        raise _wrong("the other chain's coinbase does not name the block", "root")
    if magic >= 0 and (magic + len(MAGIC) != at or script.find(MAGIC, magic + 1) >= 0):
        raise _wrong("the other chain's coinbase names several trees", "root")
    after = script[at + len(root) :][:8]
    size, nonce = int.from_bytes(after[:4], "little"), int.from_bytes(after[4:], "little")
    height = len(work.chain_branch)
    if len(after) < 8 or size != 1 << height or work.chain_index != place(nonce, coin.auxpow_id, height):
        raise _wrong("the block is not in its chain's place", "place")


def place(nonce: int, chain_id: int, height: int) -> int:
    """Where a chain's block stands in a tree of that height: a fixed pseudo-random walk from the nonce.

    >>> place(0, 98, 0), place(7, 98, 4)
    (0, 7)
    """
    walk = (nonce * 1_103_515_245 + 12_345 + chain_id) * 1_103_515_245 + 12_345
    return walk % 2**32 % (1 << height)


def _read_work(reader: Reader) -> MergedWork:
    coinbase = Tx.read(reader)
    reader.take(32)  # the other block's hash, which its header gives anyway
    branch, index = _read_branch(reader)
    chain_branch, chain_index = _read_branch(reader)
    return MergedWork(coinbase, branch, index, chain_branch, chain_index, Header.parse(reader.take(HEADER_SIZE)))


def _read_branch(reader: Reader) -> tuple[tuple[bytes, ...], int]:
    nodes = tuple(reader.take(32) for _ in range(reader.count(32)))
    return nodes, reader.uint(4)


def _wrong(text: str, code: str) -> InclusionError:
    return InclusionError(text, code=f"chain.inclusion.auxpow_{code}")
