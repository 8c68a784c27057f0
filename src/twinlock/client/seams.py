"""What the trader needs of a chain; `twinlock.electrum.view.ChainView` gives it, and so do the fakes of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from twinlock.chain.coins import Coin
from twinlock.chain.header import Header
from twinlock.chain.terms import CoinPoint
from twinlock.electrum.states import OutputStatus, ScriptState, Tip, TxProof


class Chain(Protocol):
    """One coin's chain as far as settlement looks at it. Every method may raise a TwinlockError and is then retried."""

    @property
    def coin(self) -> Coin: ...

    async def tip(self) -> Tip: ...

    def subscribe_tip(self) -> AsyncIterator[Tip]: ...

    def watch(self, script: bytes) -> AsyncIterator[ScriptState]: ...

    async def script_history(self, script: bytes) -> ScriptState: ...

    async def output_status(self, point: CoinPoint, script: bytes) -> OutputStatus | None: ...

    async def output(self, point: CoinPoint) -> OutputStatus | None: ...

    async def raw_transaction(self, txid: str) -> bytes: ...

    async def header(self, height: int) -> Header | None: ...

    async def inclusion(self, txid: str, height: int) -> TxProof: ...

    async def broadcast(self, raw: bytes) -> str: ...

    async def fee_rate(self, target: int = 2, *, ceiling: int = 0) -> int: ...
