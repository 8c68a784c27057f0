"""What a row is, and the ways of sending something that will be refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec import Raw
from tests.server.conftest import Exchange
from tests.server.jump_clock import JumpClock
from tests.server.settlement import Made
from tests.server.trader import PATIENCE_S, Trader

from twinlock.chain.spend import Input
from twinlock.protocol import envelope
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.routes import CONFIG, Route

NO_REFUSAL = -1
NUMBERS = count(1_000_000)
"""Request IDs that no trader counts up to."""


@dataclass
class World:
    """A live server in some state, and whoever talks to it.

    guest: has no account. trader: logged in. funds: a coin of the trader's that pays for three lots of the base coin.
    """

    exchange: Exchange
    clock: JumpClock
    guest: Trader
    trader: Trader
    funds: Input
    made: Made | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    """What a scene prepared for its rows, by name."""

    async def pass_time(self, seconds: float = 15) -> None:
        """Put the clock forward, by less than the 20 s of silence after a pong: everybody says something before."""
        made = (self.made.maker, self.made.taker) if self.made else ()
        for peer in (self.guest, self.trader, *made, *self.kept.values()):
            if isinstance(peer, Trader):
                await peer.ask(CONFIG, None)
        self.clock.jump(seconds)

    @property
    def match(self) -> Made:
        """The match of the scenes that have one."""
        assert self.made is not None
        return self.made


Provoke = Callable[[World], Awaitable[int]]
Make = Callable[[World], Any]


class Row(NamedTuple):
    """One refusal."""

    route: str
    defect: str
    code: ErrorCode
    provoke: Provoke


class Act(NamedTuple):
    """One step of the world, and what is refused after it. together: the rows do not disturb one another."""

    advance: Callable[[World], Awaitable[None]]
    rows: Sequence[Row]
    together: bool = False

    async def play(self, world: World) -> list[int]:
        """The code that each row got."""
        await self.advance(world)
        if self.together:
            return await asyncio.gather(*(row.provoke(world) for row in self.rows))
        return [await row.provoke(world) for row in self.rows]


class Scene(NamedTuple):
    """A server with these settings, whose state the acts bring about one after another."""

    acts: Sequence[Act]
    settings: Mapping[str, Any] = MappingProxyType({})

    @property
    def rows(self) -> list[Row]:
        """Those of all acts."""
        return [row for act in self.acts for row in act.rows]


def asks(who: str, route: Route[Any, Any], defect: str, code: ErrorCode, make: Make) -> Row:
    """A request of the guest, the trader, the maker or the taker, whose payload `make` builds."""

    async def provoke(world: World) -> int:
        return await refusal(speaker(world, who).ask(route, await _made(make, world)))

    return Row(route.name, defect, code, provoke)


def says(who: str, route: str, defect: str, code: ErrorCode, frame: str) -> Row:
    """A frame, as text; ``#`` stands for an id of its own."""

    async def provoke(world: World) -> int:
        return await stray(speaker(world, who), frame.replace("#", str(next(NUMBERS))))

    return Row(route, defect, code, provoke)


def speaker(world: World, who: str) -> Trader:
    """Whoever has that role."""
    return getattr(world if who in ("guest", "trader") else world.match, who)  # type: ignore[no-any-return]


async def refusal(answer: Awaitable[Any]) -> int:
    """The code that an answer carries, or NO_REFUSAL."""
    try:
        await answer
    except RpcError as error:
        return error.rpc_code
    return NO_REFUSAL


async def stray(trader: Trader, frame: str) -> int:
    """Send anything; the code of the error response that it brings."""
    assert trader.socket is not None
    before = len(trader.stray)
    await trader.socket.send(frame)
    async with asyncio.timeout(PATIENCE_S), trader.arrived:
        await trader.arrived.wait_for(lambda: len(trader.stray) > before)
    return trader.stray[-1].rpc_code


async def flooded(trader: Trader, route: str, most: int) -> int:
    """Send the same request until it is refused for its number; the last code within `most`."""
    code: int = NO_REFUSAL
    for _ in range(most):
        number = next(NUMBERS)
        code = await refusal(trader.ask_raw(number, envelope.request(number, route), Raw))
        if code == ErrorCode.TOO_MANY_REQUESTS:
            break
    return code


async def _made(make: Make, world: World) -> Any:
    payload = make(world)
    return await payload if isinstance(payload, Awaitable) else payload
