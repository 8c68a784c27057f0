"""Whole blocks, for tests, small tools and the occasional look; the indexer's kernel reads them in bulk."""

from __future__ import annotations

import msgspec

from twinlock.chain.errors import InclusionError
from twinlock.chain.header import HEADER_SIZE, Header
from twinlock.chain.merkle import merkle_root
from twinlock.chain.tx import Tx
from twinlock.chain.wire import Reader

_MIN_TX = 10


class Block(msgspec.Struct, frozen=True):
    """extension: Litecoin's MWEB block behind the transactions, unread; empty on other chains."""

    header: Header
    txs: tuple[Tx, ...]
    extension: bytes = b""

    @classmethod
    def parse(cls, raw: bytes) -> Block:
        """Raises MalformedError. Bytes may follow the transactions only where a HogEx ends them."""
        reader = Reader(raw)
        header = Header.parse(reader.take(HEADER_SIZE))
        txs = tuple(Tx.read(reader) for _ in range(reader.count(_MIN_TX)))
        extension = reader.take(reader.left) if txs and txs[-1].is_hogex else b""
        reader.done()
        return cls(header, txs, extension)

    def check_merkle_root(self) -> None:
        """Raises InclusionError if the header does not commit to the transactions."""
        if merkle_root([tx.hash for tx in self.txs]) != self.header.merkle_root:
            raise InclusionError("the header names another Merkle root", code="chain.inclusion.root")
