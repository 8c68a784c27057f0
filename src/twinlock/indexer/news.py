"""News: wakes the controller when the node has something new, by its ZMQ publisher or else by the clock.

The publisher's topic `sequence` tells which transactions entered and left the mempool and when blocks came or went, so
that the whole list need not be asked for each time. Where messages were missed, and now and then, it is.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass, field

import zmq
import zmq.asyncio

from twinlock.indexer.daemon import Daemon, DaemonError
from twinlock.seams import Clock

_SAFETY_SECONDS = 5.0
"""A published message may be lost; this long after the last one the node is asked anyway."""

_WHOLE_SECONDS = 30.0
"""However many messages come, the whole mempool is compared this often."""

_ADDED, _REMOVED = b"A", b"R"


@dataclass(slots=True)
class Heard:
    """What the node said: transactions (display hex) that entered (True) or left (False) its mempool, the last word on
    each. `whole`: something else happened too, or may have; everything has to be looked at."""

    mempool: dict[str, bool] = field(default_factory=dict)
    whole: bool = False


class News:
    """Waits for the node's publisher where it has one."""

    def __init__(self, daemon: Daemon, address: str) -> None:
        self._daemon = daemon
        self._address = address
        self._socket: zmq.asyncio.Socket | None = None
        self._context: zmq.asyncio.Context | None = None
        self._counts: dict[bytes, int] = {}
        self._looked = float("-inf")

    async def start(self) -> None:
        """Subscribe. Without a given address the node is asked whether it publishes."""
        topics: dict[str, set[str]] = {}
        if self._address:
            topics[self._address] = {"sequence", "hashblock"}
        elif self._daemon.local:
            with suppress(DaemonError):
                for row in await self._daemon.call("getzmqnotifications"):
                    topics.setdefault(row["address"], set()).add(row["type"].removeprefix("pub"))
        known = {name for names in topics.values() for name in names}
        if not known & {"sequence", "hashblock"}:
            return
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        # `hashtx` says less than `sequence`, and is listened to only where that is missing.
        for topic in ("sequence", "hashblock") if "sequence" in known else ("hashblock", "hashtx"):
            self._socket.subscribe(topic)
        for address in topics:
            self._socket.connect(address)

    @property
    def live(self) -> bool:
        """Whether the node calls by itself."""
        return self._socket is not None

    async def wait(self, poll_seconds: float, clock: Clock) -> Heard:
        """Return when there may be something new, with all that was heard."""
        heard = Heard()
        if self._socket is None:
            await clock.sleep(poll_seconds)
            heard.whole = True
            return heard
        if await self._socket.poll(int(_SAFETY_SECONDS * 1000)):
            with suppress(zmq.Again):
                while True:
                    self._hear(await self._socket.recv_multipart(zmq.NOBLOCK), heard)
        else:
            heard.whole = True
        if clock.monotonic() - self._looked > _WHOLE_SECONDS:
            heard.whole = True
        if heard.whole:
            self._looked = clock.monotonic()
        return heard

    def _hear(self, message: list[bytes], heard: Heard) -> None:
        """Take in one message: topic, body, and a number that counts the topic's messages."""
        topic, body, number = (*message, b"", b"")[:3]
        count = struct.unpack("<I", number)[0] if len(number) == 4 else -1
        expected = self._counts.get(topic)
        self._counts[topic] = count
        if expected is not None and count != (expected + 1) & 0xFFFFFFFF:
            heard.whole = True
        if topic == b"sequence" and body[32:33] in (_ADDED, _REMOVED):
            txid = body[:32].hex()
            heard.mempool.pop(txid, None)
            heard.mempool[txid] = body[32:33] == _ADDED
        else:
            heard.whole = True

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
        if self._context is not None:
            self._context.term()
