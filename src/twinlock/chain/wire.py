"""The bytes of Bitcoin's serialization: a bounded reader, and writers for its integers.

Nothing read from a peer can make the reader allocate more than the peer sent: a count is refused when
the bytes that are left could not hold that many elements.
"""

from __future__ import annotations

from twinlock.chain.errors import MalformedError


class Reader:
    """Reads little-endian fields from the front of a byte string.

    Every method raises MalformedError when the bytes run out or are not canonical.
    """

    __slots__ = ("_data", "_end", "pos")

    def __init__(self, data: bytes, pos: int = 0) -> None:
        self._data = bytes(data)
        self._end = len(data)
        self.pos = pos

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._end - self.pos

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start = self.pos
        if size > self._end - start:
            raise MalformedError("data ends early", numbers={"wanted": size, "left": self._end - start})
        self.pos = start + size
        return self._data[start : self.pos]

    def uint(self, size: int) -> int:
        """An unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def compact(self) -> int:
        """A CompactSize; only the shortest form of a number is accepted."""
        if self.pos >= self._end:
            raise MalformedError("data ends early", numbers={"wanted": 1, "left": 0})
        first = self._data[self.pos]
        self.pos += 1
        if first < 0xFD:
            return first
        size = 1 << (first - 0xFC)
        value = self.uint(size)
        if value < (0xFD if size == 2 else 1 << (size * 4)):
            raise MalformedError("CompactSize is not in its shortest form", code="chain.malformed.compact_size")
        return value

    def count(self, element_size: int) -> int:
        """A CompactSize that counts elements of at least `element_size` bytes each."""
        value = self.compact()
        if value * element_size > self._end - self.pos:
            raise MalformedError("a count exceeds the data", numbers={"count": value, "left": self.left})
        return value

    def var_bytes(self) -> bytes:
        """A byte string behind its CompactSize length."""
        return self.take(self.compact())

    def done(self) -> None:
        """Refuse trailing bytes."""
        if self.pos != self._end:
            raise MalformedError("bytes are left over", numbers={"left": self.left})


def compact(value: int) -> bytes:
    """A CompactSize in its shortest form.

    >>> compact(252).hex(), compact(253).hex()
    ('fc', 'fdfd00')
    """
    if value < 0xFD:
        return value.to_bytes(1, "little")
    if value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "little")
    if value <= 0xFFFFFFFF:
        return b"\xfe" + value.to_bytes(4, "little")
    return b"\xff" + value.to_bytes(8, "little")


def compact_len(value: int) -> int:
    """How many bytes `compact` needs."""
    return 1 if value < 0xFD else 3 if value <= 0xFFFF else 5 if value <= 0xFFFFFFFF else 9


def var_bytes(data: bytes) -> bytes:
    """`data` behind its CompactSize length."""
    return compact(len(data)) + data
