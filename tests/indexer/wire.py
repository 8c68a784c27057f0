"""A wallet's side of the wire, as plain as can be."""

from __future__ import annotations

import asyncio
import json
from typing import Any


class Refused(Exception):  # noqa: N818
    """The server answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code = error["code"]


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the connection comes to its end, with nothing more said."""
    try:
        return await asyncio.wait_for(reader.read(), 20) == b""
    except ConnectionError:
        return True


class Wallet:
    """One connection. Notifications gather in `notes` as (method, params)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._number = 0
        self.notes: list[tuple[str, list[Any]]] = []

    @classmethod
    async def connect(cls, port: int, version: Any = "1.4") -> Wallet:
        wallet = cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 26))
        await wallet.call("server.version", "test", version)
        return wallet

    async def call(self, method: str, *params: Any, **named: Any) -> Any:
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": named or list(params)}
        reply = await self.exchange(json.dumps(request).encode() + b"\n")
        if reply.get("error"):
            raise Refused(reply["error"])
        return reply["result"]

    async def exchange(self, data: bytes) -> Any:
        """Send bytes and give the next message that is not a notification; {} when the connection ends."""
        self._writer.write(data)
        while line := await asyncio.wait_for(self._reader.readline(), 20):
            message = json.loads(line)
            if isinstance(message, list) or "method" not in message:
                return message
            self.notes.append((message["method"], message["params"]))
        return {}

    async def line(self, data: bytes) -> bytes:
        """Send bytes and give the next line as it came."""
        self._writer.write(data)
        return await asyncio.wait_for(self._reader.readline(), 20)

    async def note(self) -> tuple[str, list[Any]]:
        """The next notification."""
        if not self.notes:
            message = json.loads(await asyncio.wait_for(self._reader.readline(), 20))
            return message["method"], message["params"]
        return self.notes.pop(0)

    async def ended(self) -> bool:
        """Whether the server closes the connection now."""
        return await ended(self._reader)

    def close(self) -> None:
        self._writer.close()
