"""Sessions on pipes of the test's own, without a socket: what is heard is answered at once or not at all."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.indexer.worlds import World

from twinlock.indexer.session import Session
from twinlock.seams import VirtualClock

PUBLIC, ELSEWHERE = "8.8.4.1", "9.9.9.9"


class Pipe(asyncio.Transport):
    """A socket's other end. buffered: bytes that wait because it does not read."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.sent: list[Any] = []
        self.flowing = True
        self.end = ""
        self.buffered = 0
        self._address = address

    def reading(self) -> bool:
        return self.flowing

    def ended(self) -> str:
        return self.end

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._address, 7) if name == "peername" else default

    def write(self, data: Any) -> None:
        self.sent += [json.loads(line) for line in bytes(data).splitlines()]

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"

    def pause_reading(self) -> None:
        self.flowing = False

    def resume_reading(self) -> None:
        self.flowing = True

    def get_write_buffer_size(self) -> int:
        return self.buffered


class Guest:
    """A session of the world and its pipe."""

    def __init__(self, world: World, address: str = PUBLIC) -> None:
        self.pipe = Pipe(address)
        self.session: Session = world.manager.session()
        self.session.connection_made(self.pipe)

    def ask(self, method: str, *params: Any, times: int = 1) -> None:
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
        self.session.data_received(line * times)

    @classmethod
    def greeted(cls, world: World, address: str = PUBLIC) -> Guest:
        guest = cls(world, address)
        guest.ask("server.version", "test", "1.6")
        guest.pipe.sent.clear()
        return guest


def public_world(clock: VirtualClock, **settings: Any) -> World:
    """A world where costs count."""
    return World(network="mainnet", clock=clock, **{"cost_soft_limit": 100, "cost_hard_limit": 1000, **settings})


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
