"""The store's twin in memory, for tests, simulations and looking at a book without a wallet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twinlock.client.store.base import R, Record, Undo, decode, encode


class MemoryStore:
    """Keeps encoded bodies, so that nobody can share a record with the store by accident."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[str, str], bytes] = {}
        self._undo = Undo()
        self._open = False

    def put(self, record: Record) -> None:
        self._bodies[record.kind, record.key] = encode(record)

    def get(self, record_type: type[R], key: str) -> R | None:
        body = self._bodies.get((record_type.kind, key))
        return None if body is None else decode(record_type, body)

    def all(self, record_type: type[R]) -> list[R]:
        rows = sorted((key, body) for (kind, key), body in self._bodies.items() if kind == record_type.kind)
        return [decode(record_type, body) for _, body in rows]

    def delete(self, record_type: type[Record], key: str) -> None:
        self._bodies.pop((record_type.kind, key), None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._open:
            yield
            return
        before, self._open = dict(self._bodies), True
        try:
            yield
        except BaseException:
            self._bodies = before
            self._undo.failed()
            raise
        else:
            self._undo.kept()
        finally:
            self._open = False

    def undo(self, step: Callable[[], object]) -> None:
        if self._open:
            self._undo.add(step)

    def close(self) -> None:
        """Nothing to let go of."""
