"""A whole exchange on one machine: two nodes, an indexer for each, and the server, every one a real process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from twinlock.seams import Clock
from twinlock.simnet import services
from twinlock.simnet.node import Node
from twinlock.simnet.processes import Process, Processes, together

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the operator of a test exchange decides. Amounts are atoms, fee rates atoms per vbyte.

    lot_size: base atoms. rate_step: message-rate. lock_*_s: seconds from the end of an epoch to the end of a
    contract's lock. block_seconds: how long a transaction waits for its block.
    """

    base: str = "ltc"
    quote: str = "btc"
    lot_size: int = 50_000_000
    rate_step: int = 100
    epoch_ms: int = 3_000
    bond_amount: int = 1_000_000
    confirmations: int = 1
    max_fee_rate: int = 20
    broadcast_timeout_ms: int = 60_000
    tx_wait_ms: int = 20_000
    lock_maker_s: int = 20 * 3_600
    lock_taker_s: int = 8 * 3_600
    block_seconds: float = 1.0

    @property
    def market(self) -> str:
        return f"{self.base}_{self.quote}"

    @property
    def symbols(self) -> tuple[str, str]:
        return self.base, self.quote


class Exchange:
    """Nodes, indexers and server on free loopback ports. Use as a context: it is up at entry, and gone after exit.

    `said` receives each stopped process with its exit status. processes: who starts them, and keeps their logs.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        clock: Clock,
        said: Callable[[Process, int], None] = lambda _process, _status: None,
        processes: Processes | None = None,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.clock = clock
        self.processes = processes or Processes(folder / "logs")
        self.nodes = {symbol: Node(symbol, folder / f"node-{symbol}", self.processes) for symbol in plan.symbols}
        self.indexers = {
            symbol: services.indexer(node, folder / f"indexer-{symbol}", self.processes)
            for symbol, node in self.nodes.items()
        }
        self.server = services.server(folder / "server", self._server_settings, self.processes)
        self._said = said

    @property
    def host(self) -> str:
        """The exchange server's address as clients write it."""
        return f"{LOCALHOST}:{self.server.port}"

    @property
    def certificate(self) -> Path:
        """The server's self-signed certificate (PEM), which clients pin."""
        return self.folder / "server" / "tls" / "server.cert"

    def electrum(self, symbol: str) -> str:
        """Where wallets see a coin's chain."""
        return f"tcp://{LOCALHOST}:{self.indexers[symbol].port}"

    async def start_nodes(self, say: Callable[[str], None] = lambda _line: None) -> None:
        """Step one. Raises ProgramError when a node cannot be had."""
        await together(*(node.start(say) for node in self.nodes.values()))

    async def start_services(self) -> None:
        """Step two: the indexers side by side, then the server that needs them."""
        await together(*(indexer.start() for indexer in self.indexers.values()))
        await self.server.start()

    async def mine(self, blocks: int = 1) -> None:
        """Add blocks to every chain."""
        for node in self.nodes.values():
            await node.mine(blocks)

    async def __aenter__(self) -> Self:
        try:
            await self.start_nodes()
            await self.start_services()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End every process, the newest first, whatever interrupts us meanwhile."""
        await asyncio.shield(self.processes.stop(self._said))

    def _server_settings(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "server": {
                "data_dir": str(self.folder / "server"),
                "network": "regtest",
                "broadcast_timeout_ms": plan.broadcast_timeout_ms,
                "tx_wait_ms": plan.tx_wait_ms,
                "lock_time_maker_s": plan.lock_maker_s,
                "lock_time_taker_s": plan.lock_taker_s,
            },
            "assets": [
                {
                    "symbol": symbol,
                    "electrum": [self.electrum(symbol)],
                    "max_fee_rate": plan.max_fee_rate,
                    "swap_conf": plan.confirmations,
                    "bond_amount": plan.bond_amount,
                    "bond_confs": plan.confirmations,
                }
                for symbol in plan.symbols
            ],
            "markets": [
                {
                    "base": plan.base,
                    "quote": plan.quote,
                    "lot_size": plan.lot_size,
                    "rate_step": plan.rate_step,
                    "epoch_ms": plan.epoch_ms,
                }
            ],
        }
