"""One conversation with one server, from its first message to its first fault.

A connection pipelines: requests leave at once (at most `IN_FLIGHT` unanswered), replies may come in any order.
The first fault ends it, whatever the fault is: a broken line, an answer to nothing that was asked, a request that
nobody answers in time, a ping without a reply. All who wait then get that same error, so that no caller waits
for an answer that cannot come. Opening the next conversation is the client's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twinlock.seams import Clock

from . import methods
from .errors import ConnectionLostError, ElectrumError, LyingServerError, ServerError
from .framing import REPLY_LIMIT, LineDecoder, Note, Reply, decode_replies, encode_batch, encode_request
from .methods import Method, Version
from .timing import within
from .transport import Transport

T = TypeVar("T")

IN_FLIGHT = 100
"""Requests that may wait for answers at once, as many as Electrum's own wallet has."""

BATCH = 50
"""Requests sent as one batch: below the smallest cap that public servers put on one."""

PATIENCE_S = 30.0
"""Seconds in which a request must be answered. Servers give up on one after 30 s themselves."""

PING_S = 60.0
"""Seconds between pings. Servers drop a session that was silent for 600 s; routers forget one sooner."""

CLIENT_NAME = "twinlock"


class Connection:
    """An open conversation. Make one with `open`, end it with `close`.

    software: what the server calls itself. version: the protocol version agreed on.
    """

    def __init__(self, transport: Transport, clock: Clock, on_note: Callable[[Note], None]) -> None:
        self._transport = transport
        self._clock = clock
        self._on_note = on_note
        self._decoder = LineDecoder(REPLY_LIMIT)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._next_id = 0
        self._free = asyncio.Semaphore(IN_FLIGHT)
        self._ended: asyncio.Future[ElectrumError] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self.software = ""
        self.version: Version = methods.PROTOCOL_MIN

    @classmethod
    async def open(
        cls, transport: Transport, clock: Clock, *, genesis_hash: str, on_note: Callable[[Note], None]
    ) -> Connection:
        """Agree on a version and check that the server serves our chain.

        genesis_hash: display hex. Raises LyingServerError (``version``, ``genesis``) or any other ElectrumError.
        """
        connection = cls(transport, clock, on_note)
        connection._tasks = [asyncio.ensure_future(connection._read()), asyncio.ensure_future(connection._keep_alive())]
        try:
            await connection._negotiate()
            features = await connection.call(methods.FEATURES)
            if features.genesis_hash != genesis_hash:
                raise LyingServerError("genesis", f"the server serves the chain of {features.genesis_hash}")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def call(self, method: Method[T], *params: object) -> T:
        """The answer to one request, in its type.

        Raises ServerError if the server answers with an error, ConnectionLostError if it does not answer in time,
        LyingServerError (``type``) or FrameError; after all but the first the connection is over.
        """
        reply = (await self._ask([(method, params)]))[0]
        return self._result(method, reply)

    async def call_many(self, method: Method[T], params: Sequence[Sequence[object]]) -> list[T | ServerError]:
        """The answers to many requests of one method, in the order of `params`, sent in batches.

        A request that the server refuses gives its ServerError in place of an answer. Raises as `call` does otherwise.
        """
        answers: list[T | ServerError] = []
        for start in range(0, len(params), BATCH):
            replies = await self._ask([(method, each) for each in params[start : start + BATCH]])
            for reply in replies:
                try:
                    answers.append(self._result(method, reply))
                except ServerError as error:
                    answers.append(error)
        return answers

    async def wait_ended(self) -> ElectrumError:
        """Wait until the conversation is over; gives the reason."""
        return await asyncio.shield(self._ended)

    async def close(self, reason: ElectrumError | None = None) -> None:
        """End the conversation; all who wait for answers get `reason`."""
        self._end(reason or ConnectionLostError("the connection was closed"))
        for task in self._tasks:
            task.cancel()
        if others := [task for task in self._tasks if task is not asyncio.current_task()]:
            await asyncio.wait(others)
        await self._transport.close()

    async def _negotiate(self) -> None:
        low, high = methods.PROTOCOL_MIN, methods.PROTOCOL_MAX
        offer = [methods.version_text(low), methods.version_text(high)]
        self.software, chosen = await self.call(methods.VERSION, CLIENT_NAME, offer)
        self.version = methods.parse_version(chosen)
        if not low <= self.version <= high:
            raise LyingServerError("version", f"the server chose version {chosen}, we offered {offer[0]} to {offer[1]}")

    def _result(self, method: Method[T], reply: Reply) -> T:
        if reply.error is not None:
            raise ServerError(method.name, reply.error.code, reply.error.message)
        try:
            return method.decode(reply.result)
        except LyingServerError as error:
            self._end(error)
            raise

    async def _ask(self, requests: list[tuple[Method[Any], Sequence[object]]]) -> list[Reply]:
        """Send one line with these requests and wait for all replies."""
        try:
            return await within(self._clock, PATIENCE_S, self._exchange(requests))
        except TimeoutError:
            error = ConnectionLostError(f"no answer to {requests[0][0].name} within {PATIENCE_S:.0f} s")
            self._end(error)
            raise error from None

    async def _exchange(self, requests: list[tuple[Method[Any], Sequence[object]]]) -> list[Reply]:
        async with self._free:
            if self._ended.done():
                raise self._ended.result()
            first = self._next_id
            self._next_id += len(requests)
            loop = asyncio.get_running_loop()
            futures = {first + i: loop.create_future() for i in range(len(requests))}
            self._waiting.update(futures)
            try:
                if len(requests) == 1:
                    line = encode_request(first, requests[0][0].name, requests[0][1])
                else:
                    line = encode_batch(
                        [(first + i, method.name, params) for i, (method, params) in enumerate(requests)]
                    )
                await self._send(line)
                return [await future for future in futures.values()]
            finally:
                for request_id in futures:
                    self._waiting.pop(request_id, None)

    async def _send(self, line: bytes) -> None:
        try:
            await self._transport.send(line)
        except ConnectionLostError as error:
            self._end(error)
            raise

    async def _read(self) -> None:
        try:
            while True:
                for line in self._decoder.feed(await self._transport.receive()):
                    for message in decode_replies(line):
                        self._take(message)
        except ElectrumError as error:
            self._end(error)
        except Exception as error:
            self._end(ElectrumError(f"reading failed: {error!r}", code="electrum.defect", fault="twinlock"))
            raise

    def _take(self, message: Reply | Note) -> None:
        if isinstance(message, Note):
            self._on_note(message)
        elif isinstance(message.id, int) and 0 <= message.id < self._next_id:
            # An answer that nobody waits for any more came too late, which is no lie.
            future = self._waiting.pop(message.id, None)
            if future is not None and not future.done():
                future.set_result(message)
        elif message.id is None and message.error is not None:
            # Refused as a whole: the server could not tell which request it was.
            raise ConnectionLostError(f"the server refused a message: {message.error.message[:200]}")
        else:
            raise LyingServerError("type", f"an answer to request {message.id!r}, which was never asked")

    async def _keep_alive(self) -> None:
        try:
            while True:
                await self._clock.sleep(PING_S)
                await self.call(methods.PING)
        except ElectrumError as error:
            self._end(error)

    def _end(self, error: ElectrumError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen, even if its caller has gone
        self._waiting.clear()
