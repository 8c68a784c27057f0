"""A tower from entry to exit: its chains, its shelf, its watcher, and the reception where packets come in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from types import TracebackType

import msgspec
import uvicorn

from twinlock.chain.coins import Coin, coin
from twinlock.client.config import WalletConfig
from twinlock.client.control.serve import listening
from twinlock.client.seams import Chain
from twinlock.client.store.files import write_durably
from twinlock.client.tower.config import TowerConfig
from twinlock.client.tower.reception import Reception
from twinlock.client.tower.sealing import key_of
from twinlock.client.tower.shelf import Shelf
from twinlock.client.tower.watcher import TowerEvent, Watcher
from twinlock.electrum.transport import Dialer
from twinlock.electrum.view import ChainView
from twinlock.seams import Clock, Entropy

KEY_FILE = "tower.key"
PIN_FILE = "certificates.json"

ChainOpener = Callable[[Coin, WalletConfig], AbstractAsyncContextManager[Chain]]


class Tower:
    """Use as a context; `url` tells where packets come in. open_chain: the seam to the network, real without it."""

    def __init__(
        self,
        config: TowerConfig,
        *,
        clock: Clock,
        entropy: Entropy,
        tell: Callable[[TowerEvent], None] = lambda _: None,
        open_chain: ChainOpener | None = None,
    ) -> None:
        self.config = config
        self.url = ""
        self.watcher: Watcher
        self._clock = clock
        self._entropy = entropy
        self._tell = tell
        self._open_chain = open_chain or self._electrum
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Tower:
        try:
            await self._enter()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _enter(self) -> None:
        shelf = Shelf(self.config.folder, self._complain)
        self._stack.callback(shelf.close)
        chains: dict[str, Chain] = {}
        for wallet in self.config.chains:
            parameters = coin(wallet.symbol, self.config.network)
            chains[wallet.symbol] = await self._stack.enter_async_context(self._open_chain(parameters, wallet))
        key = key_of(self.config.folder / KEY_FILE, self._entropy)
        self.watcher = Watcher(shelf, chains, self._clock, self.config.pace, self._tell)
        watching = asyncio.create_task(self.watcher.run())
        self._stack.push_async_callback(_end, watching)
        server = uvicorn.Config(
            Reception(self.watcher, key).app(), log_config=None, access_log=False, lifespan="off", limit_concurrency=64
        )
        self.url = await self._stack.enter_async_context(listening(server, self.config.listen, self._clock))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _electrum(self, parameters: Coin, wallet: WalletConfig) -> ChainView:
        dial = Dialer(pins=FilePins(self.config.folder / PIN_FILE), proxy=wallet.proxy or None)
        return ChainView(parameters, wallet.electrum, clock=self._clock, entropy=self._entropy, dial=dial)

    def _complain(self, text: str) -> None:
        self._tell(TowerEvent(at=self._clock.now_ms(), what="trouble", text=text))


class FilePins:
    """Certificates of Electrum servers as first seen, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, server: str) -> bytes | None:
        return self._all().get(server)

    def put(self, server: str, certificate: bytes) -> None:
        write_durably(self._path, msgspec.json.encode(self._all() | {server: certificate}))

    def _all(self) -> dict[str, bytes]:
        return msgspec.json.decode(self._path.read_bytes(), type=dict[str, bytes]) if self._path.exists() else {}


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
