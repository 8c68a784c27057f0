"""Reading what touches a script, with every claim of a block proven; and transactions, each checked by its ID."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Sequence
from typing import Protocol, TypeVar

from twinlock.chain.header import Header
from twinlock.chain.script import scripthash
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx, TxOut

from . import methods
from .errors import LyingServerError, ServerError, UnknownTransactionError
from .methods import HistoryItem, Method
from .proofs import check_history, check_inclusion, parse_transaction
from .states import HistoryEntry, ScriptState, TxProof, Unspent, status_hash
from .sync import ATTEMPTS, Asker, HeaderSync

T = TypeVar("T")

PROOFS = 50_000
"""Proven places of transactions, each (ID, height) with the Merkle root, remembered: about 10 MB."""

TRANSACTION_BYTES = 32 << 20
"""Raw bytes of transactions remembered."""


class Batcher(Asker, Protocol):
    """Whoever passes on many requests at once, too."""

    async def call_many(self, method: Method[T], params: Sequence[Sequence[object]]) -> list[T | ServerError]: ...


class Histories:
    """Questions about scripts and transactions, answered once the answers are proven."""

    def __init__(self, headers: HeaderSync) -> None:
        self._headers = headers
        self._proven: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._transactions: OrderedDict[str, tuple[bytes, Tx]] = OrderedDict()
        self._transaction_bytes = 0

    async def items(self, asker: Batcher, script: bytes) -> list[HistoryItem]:
        """A script's history as the server tells it: possible, but proven in nothing yet."""
        items = await asker.call(methods.SCRIPT_HISTORY, scripthash(script))
        check_history(items)
        return items

    async def read(
        self, asker: Batcher, script: bytes, status: str | None = None, *, check: bool = False, since: int = 0
    ) -> ScriptState:
        """The state of a script. With `check`, its history must have this status hash.

        since: the height below which nothing is proven, only named.
        Answers that disagree because a block came in between are asked for again. Raises LyingServerError.
        """
        for attempt in range(ATTEMPTS):
            items = await self.items(asker, script)
            try:
                if check and status_hash(items) != status:
                    raise LyingServerError("status", "a history does not have the status announced", entries=len(items))
                recent = [item for item in items if item.height <= 0 or item.height >= since]
                await self._prove(asker, recent)
                break
            except LyingServerError:
                if attempt == ATTEMPTS - 1:
                    raise
                # The next status and tip may be on their way: ask for them instead of waiting.
                await self._follow(asker)
                if check:
                    status = await asker.call(methods.SCRIPT_SUBSCRIBE, scripthash(script))
        entries = tuple(HistoryEntry(i.tx_hash, i.height if i.height > 0 else None, i.height < 0) for i in recent)
        older = tuple(item.tx_hash for item in items if 0 < item.height < since)
        return ScriptState(script, entries, self._headers.chain.height, older)

    async def prove(self, asker: Batcher, items: Sequence[HistoryItem], *, follow: bool = True) -> None:
        """Check the blocks of these entries. Raises LyingServerError.

        follow: the chain may have moved meanwhile, so take the asker's tip and try again.
        """
        try:
            await self._prove(asker, items)
        except LyingServerError:
            if not follow:
                raise
            await self._follow(asker)
            await self._prove(asker, items)

    async def inclusion(self, asker: Batcher, txid: str, height: int) -> TxProof:
        """The proof that a transaction is in the block at that height. Raises LyingServerError."""
        header = await self._headers.header(asker, height)
        if header is None:
            raise LyingServerError("history", "a block above the tip was asked for", height=height)
        answer = await asker.call(methods.MERKLE, txid, height)
        check_inclusion(txid, answer, header, height)
        return TxProof(height, answer.pos, tuple(bytes.fromhex(node)[::-1] for node in answer.merkle))

    def depth(self, height: int | None) -> int:
        """Confirmations of what is in the block at that height; 0 for the mempool."""
        return 0 if height is None else max(0, self._headers.chain.height - height + 1)

    async def unspent(
        self, asker: Batcher, script: bytes, only: Container[CoinPoint] | None = None
    ) -> tuple[Unspent, ...]:
        """The unspent outputs that pay a script, or those of `only`, values checked against their transactions."""
        items = await asker.call(methods.SCRIPT_UNSPENT, scripthash(script))
        found = [Unspent(_point(i.tx_hash, i.tx_pos), i.value, i.height or None) for i in items]
        found = [unspent for unspent in found if only is None or unspent.point in only]
        transactions = await self.transactions(asker, list(dict.fromkeys(unspent.point.txid for unspent in found)))
        for unspent in found:
            outputs = transactions[unspent.point.txid].outputs[unspent.point.index :][:1]
            if outputs != (TxOut(unspent.value, script),):
                raise LyingServerError("value", f"{unspent.point} is not the output that it is said to be")
        return tuple(found)

    async def raw(self, asker: Batcher, txid: str) -> bytes:
        """A transaction's bytes. Raises UnknownTransactionError."""
        return (await self._fetch(asker, [txid]))[txid][0]

    async def transactions(self, asker: Batcher, txids: Sequence[str]) -> dict[str, Tx]:
        """Transactions by ID. Raises UnknownTransactionError if the server lacks one."""
        return {txid: pair[1] for txid, pair in (await self._fetch(asker, txids)).items()}

    async def _fetch(self, asker: Batcher, txids: Sequence[str]) -> dict[str, tuple[bytes, Tx]]:
        found = {txid: pair for txid in txids if (pair := self._transactions.get(txid)) is not None}
        missing = [txid for txid in txids if txid not in found]
        answers = await many(asker, methods.TRANSACTION, [[txid] for txid in missing])
        for txid, answer in zip(missing, answers, strict=True):
            if isinstance(answer, ServerError):
                raise UnknownTransactionError(answer.method, answer.number, answer.text) from answer
            found[txid] = parse_transaction(txid, answer)
            self._remember(txid, found[txid])
        return found

    def _remember(self, txid: str, pair: tuple[bytes, Tx]) -> None:
        if txid not in self._transactions:
            self._transactions[txid] = pair
            self._transaction_bytes += len(pair[0])
        while self._transaction_bytes > TRANSACTION_BYTES:
            self._transaction_bytes -= len(self._transactions.popitem(last=False)[1][0])

    async def _prove(self, asker: Batcher, items: Sequence[HistoryItem]) -> None:
        """Check the place of every confirmed entry that is not yet proven in the present chain."""
        unproven: list[tuple[HistoryItem, Header]] = []
        for item in items:
            if item.height <= 0:
                continue
            header = await self._headers.header(asker, item.height)
            if header is None:
                raise LyingServerError("history", "a history reaches above the tip", height=item.height)
            if self._proven.get((item.tx_hash, item.height)) != header.merkle_root:
                unproven.append((item, header))
        answers = await many(asker, methods.MERKLE, [[item.tx_hash, item.height] for item, _ in unproven])
        for (item, header), answer in zip(unproven, answers, strict=True):
            if isinstance(answer, ServerError):
                raise LyingServerError("merkle", f"no proof that {item.tx_hash} is in block {item.height}: {answer}")
            check_inclusion(item.tx_hash, answer, header, item.height)
            self._proven[item.tx_hash, item.height] = header.merkle_root
        while len(self._proven) > PROOFS:
            self._proven.popitem(last=False)

    async def _follow(self, asker: Batcher) -> None:
        await self._headers.follow(asker, await asker.call(methods.HEADERS_SUBSCRIBE))


def _point(txid: str, index: int) -> CoinPoint:
    return CoinPoint(bytes.fromhex(txid)[::-1], index)


async def many(asker: Batcher, method: Method[T], params: Sequence[Sequence[object]]) -> list[T | ServerError]:
    """`call_many`, where an answer that only says how busy the server is counts for all."""
    answers = await asker.call_many(method, params) if params else []
    for answer in answers:
        if isinstance(answer, ServerError) and answer.busy:
            raise answer
    return answers
