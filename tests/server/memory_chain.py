"""A whole chain in memory: a first-class `ChainSource`, for tests that need coins but no node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType

from twinlock.chain import address
from twinlock.chain.coins import Coin
from twinlock.chain.families import family_of
from twinlock.chain.keys import PrivateKey
from twinlock.chain.spend import Input, Payment, build_sweep, key_input
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx, TxIn, TxOut
from twinlock.electrum.errors import RejectedError, UnavailableError, UnknownTransactionError
from twinlock.electrum.states import OutputStatus, Tip


class MemoryChain:
    """Blocks, a mempool and every output. Use as a context; `rate` is what `fee_rate` answers."""

    def __init__(self, coin: Coin) -> None:
        self.coin = coin
        self.rate = 5
        self.height = 100
        self.connected = True
        self.mute = False
        """Whether every question stays without an answer, as when no server can be reached."""
        self.questions = 0
        self._transactions: dict[str, Tx] = {}
        self._heights: dict[str, int | None] = {}
        self._spenders: dict[CoinPoint, str] = {}
        self._tips: list[asyncio.Queue[Tip]] = []
        self._coinbases = 0
        self.unindexed: set[CoinPoint] = set()
        """Outputs that the node has, but whose script's history does not show them yet."""

    async def __aenter__(self) -> MemoryChain:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    # What a test does

    def fund(self, key: PrivateKey, value: int, *, confirmed: bool = True) -> Input:
        """Money out of nothing, for that key."""
        self._coinbases += 1
        script = address.address_to_script(self.coin, self.address(key))
        source = TxIn(bytes(28) + self._coinbases.to_bytes(4, "big"), 0)
        tx = Tx(2, (source,), (TxOut(value, script),), 0)
        self._transactions[tx.txid] = tx
        self._heights[tx.txid] = self.height if confirmed else None
        return key_input(CoinPoint(tx.hash, 0), value, script, key)

    def address(self, key: PrivateKey) -> str:
        """The key's P2WPKH address."""
        return family_of(self.coin).address_of(key.public)

    def script(self, key: PrivateKey) -> bytes:
        """The key's P2WPKH output script."""
        return address.address_to_script(self.coin, self.address(key))

    def send(self, payment: Payment) -> str:
        """Take a transaction into the mempool. Raises RejectedError for a double spend."""
        tx = payment.tx
        for spent in tx.inputs:
            holder = self._spenders.get(spent.point)
            if holder not in (None, tx.txid):
                raise RejectedError("broadcast", 1, "txn-mempool-conflict")
        for spent in tx.inputs:
            self._spenders[spent.point] = tx.txid
        self._transactions[tx.txid] = tx
        self._heights.setdefault(tx.txid, None)
        return tx.txid

    def spend(self, funds: Input, to: PrivateKey, rate: int = 5) -> Input:
        """Send a coin on, unconfirmed; the new coin."""
        return self.join([funds], to, rate)

    def join(self, coins: Sequence[Input], to: PrivateKey, rate: int = 5) -> Input:
        """Make one coin of several, unconfirmed."""
        script = self.script(to)
        payment = build_sweep(self.coin, coins, script, rate)
        self.send(payment)
        return key_input(CoinPoint(payment.tx.hash, 0), payment.tx.outputs[0].value, script, to)

    def claim(self, point: CoinPoint) -> None:
        """Somebody else spends an output, with a transaction of no interest."""
        self._spenders[point] = "00" * 32

    def mine(self, blocks: int = 1) -> None:
        """Blocks; the first takes the whole mempool."""
        for txid, height in self._heights.items():
            if height is None:
                self._heights[txid] = self.height + 1
        self.height += blocks
        for queue in self._tips:
            queue.put_nowait(self._tip())

    def reorg(self, depth: int = 1) -> None:
        """The last blocks give way to empty ones; what they held waits in the mempool again."""
        for txid, height in self._heights.items():
            if height is not None and height > self.height - depth:
                self._heights[txid] = None
        for queue in self._tips:
            queue.put_nowait(self._tip())

    # ChainSource

    async def subscribe_tip(self) -> AsyncIterator[Tip]:
        queue: asyncio.Queue[Tip] = asyncio.Queue()
        self._tips.append(queue)
        yield self._tip()
        while True:
            yield await queue.get()

    def _listen(self) -> None:
        self.questions += 1
        if self.mute:
            raise UnavailableError("no server answers")

    async def raw_transaction(self, txid: str) -> bytes:
        self._listen()
        if txid not in self._transactions:
            raise UnknownTransactionError("transaction", 2, f"no transaction {txid}")
        return self._transactions[txid].serialize()

    async def output(self, point: CoinPoint) -> OutputStatus | None:
        self._listen()
        tx = self._transactions.get(point.txid)
        if tx is None or point.index >= len(tx.outputs) or point in self.unindexed:
            return None
        out = tx.outputs[point.index]
        return OutputStatus(
            point=point,
            script=out.script,
            value=out.value,
            height=self._heights[point.txid],
            confirmations=self._depth(point.txid),
            spender=self._spenders.get(point),
        )

    async def confirmations(self, txid: str, script: bytes) -> int | None:
        self._listen()
        tx = self._transactions.get(txid)
        if tx is None or all(out.script != script for out in tx.outputs):
            return None
        return self._depth(txid)

    async def fee_rate(self, target: int = 2) -> int:
        self._listen()
        return self.rate

    def _depth(self, txid: str) -> int:
        height = self._heights[txid]
        return 0 if height is None else self.height - height + 1

    def _tip(self) -> Tip:
        return Tip(self.height, "00" * 32, bytes(80), 1_700_000_000)
