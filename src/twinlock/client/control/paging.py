"""Reading a list that grows for ever to its beginning: each page is asked for by the cursor of the page after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar
from urllib.parse import urlencode

from twinlock.client.control.remote import Remote

MOST = 1_000
"""Rows of a page that may be asked for."""


class Row(Protocol):
    """One that knows its place; empty while what it shows is open."""

    @property
    def cursor(self) -> str: ...


T = TypeVar("T", bound=Row)


def asked(path: str, **query: object) -> str:
    """The path with what is asked for behind it; what is empty is not asked for."""
    given = {name: value for name, value in query.items() if value != ""}
    return f"{path}?{urlencode(given)}" if given else path


async def walk(remote: Remote, path: str, kind: type[T], **query: object) -> AsyncIterator[T]:
    """Every row, those of the first page first, in each page the newest first."""
    before = ""
    while True:
        page: list[T] = await remote.get(asked(path, count=MOST, before=before, **query), list[kind])  # type: ignore[valid-type]
        for row in reversed(page):
            yield row
        before = next((row.cursor for row in page if row.cursor), "")
        if not before:
            return
