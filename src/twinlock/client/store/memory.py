"""The store's twin in memory, for tests, simulations and looking at a book without a wallet."""

from __future__ import annotations

from twinlock.client.store.base import Place, R, Record, Transactional, decode, encode


class MemoryStore(Transactional):
    """Keeps encoded bodies, so that nobody can share a record with the store by accident."""

    def __init__(self) -> None:
        super().__init__()
        self._bodies: dict[tuple[str, str], bytes] = {}
        self._before = self._bodies

    def put(self, record: Record) -> None:
        self._bodies[record.kind, record.key] = encode(record)

    def get(self, record_type: type[R], key: str) -> R | None:
        body = self._bodies.get((record_type.kind, key))
        return None if body is None else decode(record_type, body)

    def all(self, record_type: type[R], prefix: str = "", most: int | None = None) -> list[R]:
        kind = record_type.kind
        keys = sorted(key for known, key in self._bodies if known == kind and key.startswith(prefix))
        return [decode(record_type, self._bodies[kind, key]) for key in keys[:most]]

    def marked(
        self, record_type: type[R], mark: str, *, before: Place | None = None, most: int | None = None
    ) -> list[R]:
        found = (record for record in self.all(record_type) if mark in record.marks)
        rows = sorted((record for record in found if not before or record.place < before), key=lambda row: row.place)
        return rows[::-1][:most]

    def delete(self, record_type: type[Record], key: str) -> None:
        self._bodies.pop((record_type.kind, key), None)

    def close(self) -> None:
        """Nothing to let go of."""

    def _begin(self) -> None:
        self._before = dict(self._bodies)

    def _keep(self) -> None:
        self._before = self._bodies

    def _take_back(self) -> None:
        self._bodies = self._before
