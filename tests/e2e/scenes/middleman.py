"""A wire between one client and the exchange, on which somebody else may speak with the exchange's own voice."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from twinlock.chain.keys import PrivateKey
from twinlock.client.errors import LinkClosedError
from twinlock.client.link import MAX_FRAME, Link, websocket_dialer
from twinlock.protocol import envelope
from twinlock.protocol.envelope import MessageType
from twinlock.protocol.routes import Route
from twinlock.server.keyfile import KEY_FILE, open_signing_key
from twinlock.simnet import traders
from twinlock.simnet.exchange import LOCALHOST, Exchange
from twinlock.simnet.processes import together

P = TypeVar("P")
R = TypeVar("R")

_FOREIGN = 1 << 40
"""IDs of questions from here on are ours, not the exchange's."""


class Middleman:
    """See `between`. host: where the client has to believe the exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.host = ""
        self._exchange = exchange
        self._client: ServerConnection | None = None
        self._ids = itertools.count(_FOREIGN)
        self._asked: dict[int, asyncio.Future[bytes]] = {}

    @property
    def voice(self) -> PrivateKey:
        """The exchange's signing key."""
        return open_signing_key(self._exchange.folder / "server" / KEY_FILE, "")

    async def ask(self, route: Route[P, R], payload: P) -> R:
        """What the client answers to a question of ours. Raises RpcError when it refuses."""
        assert self._client is not None, "the client has not come"
        number = next(self._ids)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        await self._client.send(envelope.request(number, route.name, payload), text=True)
        return envelope.decode_result(await answer, route.result)

    async def serve(self, client: ServerConnection) -> None:
        """One connection, until either end closes it."""
        config = traders.configuration(self._exchange, "middleman").servers[0]
        server = await websocket_dialer(config)()
        self._client = client
        try:
            await together(self._down(server, client), self._up(client, server))
        except (ConnectionClosed, LinkClosedError):
            return
        finally:
            await server.close()

    @staticmethod
    async def _down(server: Link, client: ServerConnection) -> None:
        while True:
            await client.send(await server.receive(), text=True)

    async def _up(self, client: ServerConnection, server: Link) -> None:
        async for frame in client:
            message = envelope.decode_frame(frame)
            if message.type is MessageType.RESPONSE and message.id >= _FOREIGN:
                self._asked.pop(message.id).set_result(message.payload)
            else:
                await server.send(frame if isinstance(frame, bytes) else frame.encode())


@asynccontextmanager
async def between(exchange: Exchange) -> AsyncIterator[Middleman]:
    """A middleman that waits for a client, with the exchange's own certificate."""
    middleman = Middleman(exchange)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(exchange.certificate, exchange.certificate.with_suffix(".key"))
    async with serve(middleman.serve, LOCALHOST, 0, ssl=context, compression=None, max_size=MAX_FRAME) as server:
        middleman.host = f"{LOCALHOST}:{next(iter(server.sockets)).getsockname()[1]}"
        yield middleman
