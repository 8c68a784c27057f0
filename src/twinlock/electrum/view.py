"""One coin's chain, seen through Electrum servers and believed only as far as it is proven.

A `ChainView` follows the headers, watches scripts and answers questions. It keeps to one server at a time and turns
to the next when that one fails or is caught lying; what it has told stays true, as every confirmation it tells
of is proven by a Merkle branch to a header of the chain that it follows. What no light client can prove is that
a server leaves nothing out; where there are several, `opinions` finds out what another one would have shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from decimal import ROUND_CEILING, Decimal
from types import TracebackType
from typing import TypeVar

import structlog

from twinlock.chain.coins import Coin
from twinlock.chain.header import Header
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx
from twinlock.seams import Clock, Entropy

from . import methods
from .client import BACKOFF_MAX_S, ElectrumClient
from .errors import (
    ElectrumError,
    LyingServerError,
    RejectedError,
    ServerError,
    UnavailableError,
    UnknownTransactionError,
)
from .histories import Histories
from .opinions import OPINION_S, Opinions
from .outputs import output_status
from .states import OutputStatus, ScriptState, Tip, TxProof, Unspent
from .sync import HeaderSync
from .timing import within
from .transport import Dial, Endpoint
from .watches import Watches

T = TypeVar("T")

log = structlog.get_logger(__name__)

FALLBACK_FEE_RATE = 10
"""Atoms per vbyte where the server has no estimate, as on a chain without traffic; bounded like an estimate."""

FEE_RATE_S = 30.0
"""Seconds for which an estimate is good."""

FEE_TARGETS = (1, 1008)
"""Blocks for which nodes give estimates."""

RETRY_S = 1.0
"""Seconds until a server that was busy is asked again."""

ATOMS_PER_COIN = 100_000_000
"""In which unit servers tell fees: whole coins per 1,000 vbytes, on every coin that has such servers."""


class ChainView:
    """Use as a context. Every method ends within `patience` seconds; the iterators go on until they are closed.

    servers: ``tcp://host:port`` or ``ssl://host:port``, the preferred one first. dial: how to reach them; real
    connections without it. opinions: seconds between second opinions, where there are several servers. on_lie: told of
    each server that is caught, and how. longest_pause: seconds between two looks for a server while none serves. Raises
    UnavailableError where no server answers in time.
    """

    def __init__(
        self,
        coin: Coin,
        servers: Sequence[Endpoint | str],
        *,
        clock: Clock,
        entropy: Entropy,
        dial: Dial | None = None,
        patience: float = 60.0,
        opinions: float = OPINION_S,
        on_lie: Callable[[Endpoint, ElectrumError], None] | None = None,
        longest_pause: float = BACKOFF_MAX_S,
    ) -> None:
        self.coin = coin
        self._clock = clock
        self._patience = patience
        self._headers = HeaderSync(coin)
        self._histories = Histories(self._headers)
        self._watches = Watches(self._histories, self._headers)
        self._fee_rates: dict[int, tuple[float, int]] = {}
        self._client = ElectrumClient(
            [server if isinstance(server, Endpoint) else Endpoint.parse(server) for server in servers],
            genesis_hash=coin.genesis_hash,
            clock=clock,
            entropy=entropy,
            dial=dial,
            on_connect=self._watches.connected,
            on_note=self._watches.note,
            on_lie=on_lie,
            patience=patience,
            longest_pause=longest_pause,
        )
        self._several = len(set(servers)) > 1
        self._opinions = Opinions(coin, self._client, self._headers, self._histories, clock, opinions)
        self._tasks: list[asyncio.Task[None]] = []
        self._spreading: set[asyncio.Task[bool]] = set()

    async def __aenter__(self) -> ChainView:
        await self._client.__aenter__()
        self._tasks = [asyncio.create_task(self._work(), name=f"chain-view-{self.coin.symbol}")]
        if self._several:
            self._tasks.append(asyncio.create_task(self._opinions.run(), name=f"second-opinion-{self.coin.symbol}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._tasks, *self._spreading]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._client.__aexit__(kind, error, trace)

    @property
    def connected(self) -> bool:
        """A server is there, and its headers are verified."""
        return self._client.connected

    # The chain ----------------------------------------------------------------------------------------

    async def tip(self) -> Tip:
        """The best block that is known; at the start, waits for the first."""
        if (tip := self._tip()) is None:
            await self._within(self._client.connection())
            tip = self._tip()
        assert tip is not None, "a connection is live only once its headers are verified"
        return tip

    async def median_time_past(self) -> int:
        """Seconds; what lock times are compared with (BIP 113)."""
        return (await self.tip()).median_time

    async def subscribe_tip(self) -> AsyncIterator[Tip]:
        """The tip now, then each new one; those that came while the caller was busy are skipped."""
        seen: Tip | None = None
        while True:
            tip = self._tip()
            if tip is not None and tip != seen:
                seen = tip
                yield tip
            else:
                await self._watches.news()

    async def header(self, height: int) -> Header | None:
        """The header at a height, linked to the tip; None above the tip."""
        await self.tip()
        return await self._ask(lambda: self._headers.header(self._client, height))

    # Scripts and their outputs -------------------------------------------------------------------------

    def watch(self, script: bytes, since: int = 0) -> AsyncGenerator[ScriptState, None]:
        """The state of an output script now, then each time its history or a height in it changes.

        since: a height below which nothing has to be told, which needs no headers and no proofs then; what is there is
        named in `ScriptState.older`, unless somebody else watches the script from further back.
        The iteration raises ServerError if the server refuses to follow the script.
        """
        return self._watches.states(script, since)

    async def script_history(self, script: bytes, since: int = 0) -> ScriptState:
        """The state of an output script now; `since` as for `watch`."""
        return await self._ask(lambda: self._histories.read(self._client, script, since=since))

    async def unspent(self, script: bytes) -> tuple[Unspent, ...]:
        """Outputs that pay the script and that nothing spends, the mempool included; values are checked."""
        return await self._ask(lambda: self._histories.unspent(self._client, script))

    async def confirmations(self, txid: str, script: bytes) -> int | None:
        """Of a transaction that touches the script: 0 in the mempool, 1 in the tip; None where there is none."""
        return await self._ask(lambda: self._confirmations(txid, script))

    async def output_status(self, point: CoinPoint, script: bytes) -> OutputStatus | None:
        """What became of an output; None where no such output pays the script, or its transaction is gone."""
        status = await self._ask(lambda: output_status(self._histories, self._client, point, script))
        if self._several and (status is None or status.spender is None):
            self._opinions.doubt(point, script, shown=status is not None)
        return status

    async def output(self, point: CoinPoint) -> OutputStatus | None:
        """The same for a coin of which only the ID is known."""
        try:
            tx = await self.transaction(point.txid)
        except UnknownTransactionError:
            return None
        if point.index >= len(tx.outputs):
            return None
        return await self.output_status(point, tx.outputs[point.index].script)

    # Transactions --------------------------------------------------------------------------------------

    async def transaction(self, txid: str) -> Tx:
        """Raises UnknownTransactionError."""
        return (await self._ask(lambda: self._histories.transactions(self._client, [txid])))[txid]

    async def transactions(self, txids: Sequence[str]) -> dict[str, Tx]:
        """Several by ID. Raises UnknownTransactionError if one is unknown."""
        return await self._ask(lambda: self._histories.transactions(self._client, txids))

    async def raw_transaction(self, txid: str) -> bytes:
        """The same, as bytes."""
        return await self._ask(lambda: self._histories.raw(self._client, txid))

    async def inclusion(self, txid: str, height: int) -> TxProof:
        """The proof that a transaction is in the block at that height, verified. Raises ServerError if it is not."""
        return await self._ask(lambda: self._histories.inclusion(self._client, txid, height))

    async def broadcast(self, raw: bytes) -> str:
        """The transaction's ID once it is in the mempool or a block, also if it was there before.

        Where several servers are known, another one gets it too, so that no single one can keep it from the network,
        or say falsely that it is refused. Raises RejectedError with the node's reason.
        """
        txid = Tx.parse(raw).txid
        try:
            answer = await self._within(self._client.call(methods.BROADCAST, raw.hex()))
        except ServerError as error:
            if error.busy:
                raise
            if await self._knows(txid) or (self._several and await self._spread(raw)):
                return txid
            raise RejectedError(error.method, error.number, error.text) from error
        if answer != txid:
            await self._client.blame(LyingServerError("txid", f"{answer} for the broadcast transaction {txid}"))
        if self._several:
            self._spreading.add(task := asyncio.create_task(self._spread(raw)))
            task.add_done_callback(self._spreading.discard)
        return txid

    async def fee_rate(self, target: int = 2, *, ceiling: int = 0) -> int:
        """Atoms per vbyte to be mined within `target` blocks, from 1 to `ceiling`: the coin's max_fee_rate if 0.

        Never fails for want of an estimate: without one it is FALLBACK_FEE_RATE, or the server's relay fee if higher.
        """
        target = min(max(target, FEE_TARGETS[0]), FEE_TARGETS[1])
        until, rate = self._fee_rates.get(target, (0.0, 0))
        if until < self._clock.monotonic():
            estimate, floor = await self._fee(methods.ESTIMATE_FEE, target), await self._relay_fee()
            fallback = min(FALLBACK_FEE_RATE, self.coin.max_fee_rate)
            rate = max(estimate or fallback, floor, 1)
            self._fee_rates[target] = (self._clock.monotonic() + FEE_RATE_S, rate)
        return min(rate, ceiling or self.coin.max_fee_rate)

    # ---------------------------------------------------------------------------------------------------

    def _tip(self) -> Tip | None:
        chain = self._headers.chain
        header = chain.header(chain.height)
        if header is None:
            return None
        return Tip(chain.height, header.hash_hex, header.serialize(), chain.median_time())

    async def _confirmations(self, txid: str, script: bytes) -> int | None:
        items = await self._histories.items(self._client, script)
        found = [item for item in items if item.tx_hash == txid]
        await self._histories.prove(self._client, found)
        return self._histories.depth(found[0].height if found[0].height > 0 else None) if found else None

    async def _knows(self, txid: str) -> bool:
        try:
            await self._within(self._client.call(methods.TRANSACTION, txid))
        except ServerError:
            return False
        return True

    async def _spread(self, raw: bytes) -> bool:
        """Did another server take the transaction?"""
        try:
            async with self._client.another() as connection:
                await connection.call(methods.BROADCAST, raw.hex())
        except ElectrumError:
            return False
        return True

    async def _relay_fee(self) -> int:
        connection = await self._within(self._client.connection())
        if connection.version >= methods.MEMPOOL_INFO.since:
            try:
                info = await self._within(self._client.call(methods.MEMPOOL_INFO))
            except ServerError:
                return 0
            return max(_atoms_per_vbyte(info.mempoolminfee), _atoms_per_vbyte(info.minrelaytxfee))
        return await self._fee(methods.RELAY_FEE)

    async def _fee(self, method: methods.Method[Decimal], *params: object) -> int:
        try:
            return _atoms_per_vbyte(await self._within(self._client.call(method, *params)))
        except ServerError:
            return 0

    async def _ask(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._within(self._truthfully(work))

    async def _truthfully(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work` from the first server that is not caught lying in it."""
        while True:
            try:
                return await work()
            except LyingServerError as error:
                await self._client.blame(error)

    async def _within(self, work: Awaitable[T]) -> T:
        try:
            return await within(self._clock, self._patience, work)
        except TimeoutError:
            raise UnavailableError(
                f"no Electrum server for {self.coin.name} answered within {self._patience:.0f} s"
            ) from self._client.last_error

    async def _work(self) -> None:
        while True:
            await self._watches.stale.wait()
            await self._client.connection()
            try:
                await self._watches.settle(self._client)
            except LyingServerError as error:
                await self._client.blame(error)
            except ElectrumError:
                # Nobody answers, or the server is busy: what is stale stays so, and is tried again.
                await self._retry()
            except Exception:  # a defect of ours must not end what others rely on
                log.exception("watching failed by a defect", coin=self.coin.symbol)
                await self._retry()

    async def _retry(self) -> None:
        await self._clock.sleep(RETRY_S)
        self._watches.stale.set()


def _atoms_per_vbyte(coins_per_kvb: Decimal) -> int:
    """Rounded up, so that the rate is not below what was asked for; 0 for what is no fee.

    >>> _atoms_per_vbyte(Decimal("0.00001001")), _atoms_per_vbyte(Decimal(-1))
    (2, 0)
    """
    if not coins_per_kvb.is_finite() or coins_per_kvb <= 0 or coins_per_kvb > 1000:
        return 0
    return int((coins_per_kvb * ATOMS_PER_COIN / 1000).to_integral_value(ROUND_CEILING))
