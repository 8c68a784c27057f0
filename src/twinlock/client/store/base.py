"""What a store is: typed records by key, and transactions that happen wholly or not at all.

Most records live in memory too. `changing` keeps both alike: what could not be stored has not happened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import msgspec

LIVE = "live"
"""The mark of a record that is not over: of those that come and go, only these are kept in memory."""


class Place(NamedTuple):
    """Where a record stands among others of its kind: by time (ms), then by key."""

    at: int
    key: str


class Record(msgspec.Struct, kw_only=True, weakref=True):
    """Base of everything that the client stores. Fields added later need a default, so that old bodies decode."""

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """Unique among the records of this kind; stored in the clear, so it holds no secret."""
        raise NotImplementedError

    @property
    def marks(self) -> tuple[str, ...]:
        """What it is found by beside its key, each once. Nobody who has no password can read them on disk."""
        return ()

    @property
    def at(self) -> int:
        """Its time (ms), by which those of one mark are ordered; it never changes, and is stored in the clear."""
        return 0

    @property
    def place(self) -> Place:
        return Place(self.at, self.key)


R = TypeVar("R", bound=Record)


class Store(Protocol):
    """Where the client keeps what it must not lose.

    Every write is durable when the call returns, or, inside `transaction`, when the block ends; else it raises
    StoreError.
    Records read back are copies: changing one changes nothing until it is put again.
    """

    def put(self, record: Record) -> None:
        """Insert or replace the record under its kind and key."""
        ...

    def get(self, record_type: type[R], key: str) -> R | None: ...

    def all(self, record_type: type[R], prefix: str = "", most: int | None = None) -> list[R]:
        """Every record of the type whose key begins like that, ordered by key; at most so many."""
        ...

    def marked(
        self, record_type: type[R], mark: str, *, before: Place | None = None, most: int | None = None
    ) -> list[R]:
        """Every record of the type with that mark, the newest first; at most so many, from `before` on backwards."""
        ...

    def delete(self, record_type: type[Record], key: str) -> None:
        """Remove the record; removing one that is not there changes nothing."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All writes inside the outermost block are kept together, or none when it raises. Never await inside."""
        ...

    def undo(self, step: Callable[[], object]) -> None:
        """Call this too should the transaction under way not be kept: it takes back what memory was told meanwhile.

        Steps are called the last told first. Outside of a transaction there is nothing to take back.
        """
        ...

    def close(self) -> None: ...


@contextmanager
def changing(store: Store, *records: Record) -> Iterator[None]:
    """Change these records in the block: at its end they are stored. What is not kept is taken back in memory too.

    Inside a transaction that holds until its outermost block has ended. Never await inside.
    """
    with store.transaction():
        for record in records:
            store.undo(partial(_restore, record, msgspec.structs.asdict(record)))
        yield
        for record in records:
            store.put(record)


def _restore(record: Record, members: dict[str, Any]) -> None:
    for name, value in members.items():
        setattr(record, name, value)


class Transactional(ABC):
    """The transactions of a store, which says only how one begins, is kept and is taken back."""

    def __init__(self) -> None:
        self._open = False
        self._steps: list[Callable[[], object]] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A failure anywhere inside the outermost block, or of keeping it, undoes all of it, in memory too."""
        if self._open:
            yield
            return
        self._begin()
        self._open = True
        try:
            yield
            self._keep()
        except BaseException:
            self._take_back()
            while self._steps:
                self._steps.pop()()
            raise
        finally:
            self._open = False
            self._steps.clear()

    def undo(self, step: Callable[[], object]) -> None:
        """As `Store` says."""
        if self._open:
            self._steps.append(step)

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _keep(self) -> None: ...

    @abstractmethod
    def _take_back(self) -> None: ...


def encode(record: Record) -> bytes:
    """The stored body: MessagePack of the fields."""
    return msgspec.msgpack.encode(record)


def decode(record_type: type[R], body: bytes) -> R:
    return msgspec.msgpack.decode(body, type=record_type)
