"""What is written, and the seam to the engines that store it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from twinlock.server.errors import ServerError

Row = Mapping[str, Any]


class Write(NamedTuple):
    """A statement and the rows it runs for; an empty list of rows means that it stands alone."""

    statement: sa.Executable
    rows: Sequence[Row] = ()


Work = Sequence[Write]
"""Writes that commit together or not at all."""


class DatabaseError(ServerError):
    """The database refused or lost a write, or cannot be copied; nothing of that work was stored."""

    code = "server.database"


class Store(Protocol):
    """How one engine writes."""

    async def commit(self, writes: Sequence[Write]) -> None:
        """Store all of them in one transaction; return when they are on disk. Raises DatabaseError."""
        ...

    async def tidy(self) -> None:
        """What the engine needs now and then, while nobody waits for a commit."""
        ...

    def close(self) -> None:
        """Let go of everything; `commit` is not called any more."""
        ...


def merged(works: Iterable[Work]) -> list[Write]:
    """All writes; neighbours with the very same statement become one with all their rows."""
    found: list[Write] = []
    together: list[Row] = []
    for statement, rows in (write for work in works for write in work):
        if together and rows and found[-1].statement is statement:
            together.extend(rows)
        else:
            together = list(rows)
            found.append(Write(statement, together))
    return found
