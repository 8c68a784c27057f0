"""Following a server's headers, and finding old ones: the asynchronous half of `twinlock.electrum.headers`."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol, TypeVar

from twinlock.chain.coins import Coin, Network
from twinlock.chain.header import Header

from . import methods
from .errors import LyingServerError
from .headers import WINDOW, HeaderChain, check_run, read_headers
from .methods import HeaderReply, Method

T = TypeVar("T")

ATTEMPTS = 5
"""Times that answers may disagree because the chain moved between them, before the server is blamed."""

OLD_HEADERS = 1000
"""Headers from below the window that are remembered, 80 kB."""


class Asker(Protocol):
    """Whoever passes a request on: a connection, or the client with its fail-over."""

    async def call(self, method: Method[T], *params: object) -> T: ...


class HeaderSync:
    """Keeps `chain` at the tip that servers announce. Calls may overlap; they take turns."""

    def __init__(self, coin: Coin) -> None:
        self.chain = HeaderChain(coin)
        self._coin = coin
        self._turn = asyncio.Lock()
        self._anchors: dict[int, bytes] = {}
        self._old: OrderedDict[int, Header] = OrderedDict()

    async def follow(self, asker: Asker, announced: HeaderReply) -> int | None:
        """Bring the chain to the announced tip.

        Returns the height up to which nothing changed, or None if nothing changed at all. Raises LyingServerError
        if the server's headers do not make a chain, even when asked again.
        """
        async with self._turn:
            for attempt in range(ATTEMPTS):
                try:
                    return await self._follow(asker, announced)
                except LyingServerError as error:
                    if error.what != "headers" or attempt == ATTEMPTS - 1:
                        raise
                announced = await asker.call(methods.HEADERS_SUBSCRIBE)
            raise AssertionError("unreachable")

    async def _follow(self, asker: Asker, announced: HeaderReply) -> int | None:
        chain, tip, height = self.chain, _one(self._coin, announced.hex), announced.height
        if chain.header(height) == tip and (height == chain.height or self._coin.network is Network.MAINNET):
            return None  # known; a server that is some blocks behind takes none of ours away
        if not len(chain) or height > chain.height + WINDOW:
            return await self._restart(asker, height, tip)
        start = min(height, chain.height + 1)
        run = [tip] if start == height else await self._fetch(asker, start, height)
        step = 1
        while not chain.links(start, run[0]):
            if start <= chain.base:
                return await self._restart(asker, height, tip)
            lower = max(chain.base, start - step)
            run = [*await self._fetch(asker, lower, start - 1), *run]
            start, step = lower, step * 2
        _expect_tip(run, tip, height)
        return chain.extend(start, run)

    async def _restart(self, asker: Asker, height: int, tip: Header) -> int:
        if len(self.chain) and height <= self.chain.height + WINDOW and self._coin.network is Network.MAINNET:
            raise LyingServerError("work", f"the server's chain forks off more than {len(self.chain)} blocks ago")
        start = max(0, height - WINDOW + 1)
        run = await self._fetch(asker, start, height)
        _expect_tip(run, tip, height)
        self.chain.replace(start, run)
        self._anchors.clear()
        self._old.clear()
        return -1

    async def header(self, asker: Asker, height: int) -> Header | None:
        """The header at a height, proven to lie below the tip; None above it."""
        if height > self.chain.height or height < 0:
            return None
        if (kept := self.chain.header(height)) is not None:
            return kept
        async with self._turn:
            if (kept := self.chain.header(height) or self._old.get(height)) is None:
                kept = await self._descend(asker, height)
                self._old[height] = kept
                if len(self._old) > OLD_HEADERS:
                    self._old.popitem(last=False)
            return kept

    async def _descend(self, asker: Asker, height: int) -> Header:
        lowest = self.chain.header(self.chain.base)
        assert lowest is not None
        known = {**self._anchors, self.chain.base - 1: lowest.prev_hash}
        top = min(anchor for anchor in known if anchor >= height)
        expected = known[top]
        while True:
            start = top - top % WINDOW
            run = await self._fetch(asker, start, top)
            if run[-1].hash != expected:
                raise LyingServerError("headers", f"the header at height {top} is not of the best chain", height=top)
            check_run(self._coin, run, start)
            top, expected = start - 1, run[0].prev_hash
            self._anchors[top] = expected
            if start <= height:
                return run[height - start]

    async def _fetch(self, asker: Asker, first: int, last: int) -> list[Header]:
        """Headers first..last, in as many requests as it takes. Raises LyingServerError if some are missing."""
        headers: list[Header] = []
        while (start := first + len(headers)) <= last:
            reply = await asker.call(methods.BLOCK_HEADERS, start, min(WINDOW, last - start + 1))
            run = _split(self._coin, reply)
            if not 0 < len(run) <= last - start + 1:
                raise LyingServerError("headers", f"{len(run)} headers from height {start}", height=start)
            headers += run
        return headers


def _one(coin: Coin, text: str) -> Header:
    headers = read_headers(coin, bytes.fromhex(text))
    if len(headers) != 1:
        raise LyingServerError("type", f"{len(headers)} headers where one is announced")
    return headers[0]


def _split(coin: Coin, reply: methods.HeadersReply) -> list[Header]:
    try:
        raw = bytes.fromhex((reply.hex or "") if reply.headers is None else "".join(reply.headers))
    except ValueError as error:
        raise LyingServerError("type", f"headers that are none: {error}") from error
    headers = read_headers(coin, raw)
    if reply.count != len(headers):
        raise LyingServerError("type", f"{len(headers)} headers where {reply.count} are announced")
    return headers


def _expect_tip(run: list[Header], tip: Header, height: int) -> None:
    if run[-1] != tip:
        raise LyingServerError("headers", f"the header at height {height} is not the announced tip", height=height)
