"""MT19937-64, the 64-bit Mersenne Twister, and the draws that shuffle an epoch's orders.

Protocol section 6.5 and appendix C.2: seeding by array, draws as Go's ``math/rand`` makes them.
"""

from __future__ import annotations

__all__ = ["MT19937_64", "MT19937_64Plain"]

_N = 312
_M = 156
_MATRIX = 0xB5026F5AA96619E9
_UPPER = 0xFFFFFFFF80000000
_LOWER = 0x7FFFFFFF
_MASK = 0xFFFFFFFFFFFFFFFF


class MT19937_64Plain:  # noqa: N801 - the generator's own name
    """The generator in Python.

    seed: a number below 2^64 seeds directly; bytes are read as big-endian 64-bit words, padded with
    zeros on the right, and seed by array. Raises ValueError for empty bytes or a number out of range.
    """

    __slots__ = ("_index", "_state")

    def __init__(self, seed: bytes | int = 5489) -> None:
        if isinstance(seed, int):
            if not 0 <= seed <= _MASK:
                raise ValueError("the seed must be below 2^64")
            self._state = _fill(seed)
        else:
            if not seed:
                raise ValueError("the seed is empty")
            padded = bytes(seed) + bytes(-len(seed) % 8)
            self._state = _fill_by_array([int.from_bytes(padded[i : i + 8], "big") for i in range(0, len(padded), 8)])
        self._index = _N

    def u64(self) -> int:
        """The next 64 bits."""
        if self._index == _N:
            self._twist()
        x = self._state[self._index]
        self._index += 1
        x ^= x >> 29 & 0x5555555555555555
        x ^= x << 17 & 0x71D67FFFEDA60000
        x ^= x << 37 & 0xFFF7EEE000000000
        return x ^ x >> 43

    def int31(self) -> int:
        """The upper 31 bits of the next output."""
        return self.u64() >> 33

    def intn(self, n: int) -> int:
        """A fair number in 0 .. n-1, for 1 <= n < 2^31; n = 1 consumes an output too. Raises ValueError."""
        if not 0 < n < 1 << 31:
            raise ValueError("n must be in 1 .. 2^31 - 1")
        if n & (n - 1) == 0:
            return self.int31() & (n - 1)
        largest = (1 << 31) - 1 - (1 << 31) % n
        value = self.int31()
        while value > largest:
            value = self.int31()
        return value % n

    def shuffle(self, n: int) -> list[int]:
        """The order in which a sorted queue of n orders is matched: a list of positions in it."""
        if not 0 <= n < 1 << 31:
            raise ValueError("n must be in 0 .. 2^31 - 1")
        queue = list(range(n))
        for i in range(n):
            j = i + self.intn(n - i)
            queue[i], queue[j] = queue[j], queue[i]
        return queue

    def _twist(self) -> None:
        state = self._state
        for i in range(_N):
            x = state[i] & _UPPER | state[(i + 1) % _N] & _LOWER
            state[i] = state[(i + _M) % _N] ^ x >> 1 ^ (_MATRIX if x & 1 else 0)
        self._index = 0


def _fill(seed: int) -> list[int]:
    state = [seed]
    for i in range(1, _N):
        last = state[-1]
        state.append((6364136223846793005 * (last ^ last >> 62) + i) & _MASK)
    return state


def _fill_by_array(key: list[int]) -> list[int]:
    state = _fill(19650218)
    i, j = 1, 0
    for _ in range(max(_N, len(key))):
        last = state[i - 1]
        state[i] = ((state[i] ^ (last ^ last >> 62) * 3935559000370003845) + key[j] + j) & _MASK
        i = _next(state, i)
        j = (j + 1) % len(key)
    for _ in range(_N - 1):
        last = state[i - 1]
        state[i] = ((state[i] ^ (last ^ last >> 62) * 2862933555777941757) - i) & _MASK
        i = _next(state, i)
    state[0] = 1 << 63
    return state


def _next(state: list[int], i: int) -> int:
    if i + 1 < _N:
        return i + 1
    state[0] = state[_N - 1]
    return 1


try:
    from twinlock.kernels._mt64 import MT19937_64
except ImportError:
    MT19937_64 = MT19937_64Plain  # type: ignore[misc,assignment] # the twin stands in
