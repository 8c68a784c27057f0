"""Where packets come in: `POST /packets` takes a sealed packet and answers its receipt; `GET /healthz` answers `ok`."""

from __future__ import annotations

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from twinlock.client.tower.packet import MAX_BYTES, PacketError, decode
from twinlock.client.tower.sealing import receipt, unseal
from twinlock.client.tower.watcher import Watcher

_SEALED_MAX = MAX_BYTES + 64


class Refusal(msgspec.Struct, frozen=True):
    """Why a packet was not taken."""

    code: str
    message: str
    fix: str = ""


class Reception:
    """Takes packets for one watcher, from whoever holds the tower's key."""

    def __init__(self, watcher: Watcher, key: bytes) -> None:
        self._watcher = watcher
        self._key = key

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/packets", self._take, methods=["POST"]),
                Route("/healthz", self._health, methods=["GET"]),
            ]
        )

    async def _take(self, request: Request) -> Response:
        sealed = bytearray()
        async for chunk in request.stream():
            sealed += chunk
            if len(sealed) > _SEALED_MAX:
                return _refuse(413, PacketError("a packet is never so large"))
        try:
            packet = decode(unseal(self._key, bytes(sealed)))
            self._watcher.take(packet)
        except PacketError as error:
            return _refuse(401 if error.code == "tower.key" else 422, error)
        except OSError as error:
            text = f"the packet cannot be kept: {error.strerror or error}"
            return _refuse(507, PacketError(text, code="tower.disk", fault="machine", fix="make room for the tower"))
        # It is on disk now, or a newer one is.
        return PlainTextResponse(receipt(self._key, bytes(sealed)))

    async def _health(self, _request: Request) -> Response:
        return PlainTextResponse("ok")


def _refuse(status: int, error: PacketError) -> Response:
    body = msgspec.json.encode(Refusal(error.code, str(error), error.fix))
    return Response(body, status, media_type="application/json")
