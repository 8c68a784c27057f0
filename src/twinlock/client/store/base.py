"""What a store is: typed records by key, and transactions that happen wholly or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import ClassVar, Protocol, TypeVar

import msgspec


class Record(msgspec.Struct, kw_only=True):
    """Base of everything that the client stores. Fields added later need a default, so that old bodies decode."""

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """Unique among the records of this kind; stored in the clear, so it holds no secret."""
        raise NotImplementedError


R = TypeVar("R", bound=Record)


class Store(Protocol):
    """Where the client keeps what it must not lose.

    Every write is durable when the call returns, or, inside `transaction`, when the block ends.
    Records read back are copies: changing one changes nothing until it is put again.
    """

    def put(self, record: Record) -> None:
        """Insert or replace the record under its kind and key."""
        ...

    def get(self, record_type: type[R], key: str) -> R | None: ...

    def all(self, record_type: type[R]) -> list[R]:
        """Every record of the type, ordered by key."""
        ...

    def delete(self, record_type: type[Record], key: str) -> None:
        """Remove the record; removing one that is not there changes nothing."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All writes inside the block are kept together, or none when it raises. Nests; never await inside."""
        ...

    def close(self) -> None: ...


def encode(record: Record) -> bytes:
    """The stored body: MessagePack of the fields."""
    return msgspec.msgpack.encode(record)


def decode(record_type: type[R], body: bytes) -> R:
    return msgspec.msgpack.decode(body, type=record_type)
