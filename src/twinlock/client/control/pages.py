"""Static files that the control interface shows without a key: the trader's page, which then asks with one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Nothing from elsewhere runs, is loaded or frames the page, and nothing but this origin is talked to."""


class Page(NamedTuple):
    """One file: its media type and its bytes."""

    kind: str
    body: bytes

    async def answer(self, _request: Request) -> Response:
        return Response(self.body, media_type=self.kind, headers=HEADERS)


NO_PAGES: Mapping[str, Page] = MappingProxyType({})
