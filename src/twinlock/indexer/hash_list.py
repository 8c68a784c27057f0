"""Block hashes of a whole chain, in as few bytes as they have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_SIZE = 32


class HashList:
    """Hashes in display hex, one after the other.

    >>> hashes = HashList()
    >>> hashes.add(["ab" * 32, "cd" * 32])
    >>> len(hashes), hashes[1][:4], [text[:2] for text in hashes.since(0)]
    (2, 'cdcd', ['ab', 'cd'])
    """

    def __init__(self, hashes: Iterable[str] = ()) -> None:
        self._joined = bytearray()
        self.add(hashes)

    def __len__(self) -> int:
        return len(self._joined) // _SIZE

    def __getitem__(self, height: int) -> str:
        if not 0 <= height < len(self):
            raise IndexError(height)
        return self._joined[_SIZE * height : _SIZE * (height + 1)].hex()

    def since(self, height: int) -> Iterator[str]:
        """Those of this height and all that follow."""
        return (self[n] for n in range(height, len(self)))

    def add(self, hashes: Iterable[str]) -> None:
        """More of them."""
        for text in hashes:
            self._joined += bytes.fromhex(text)
