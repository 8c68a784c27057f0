"""The plain twin of the index kernel: the same sections, byte for byte, from short and obvious code.

`segment_plain` says what the sections are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import groupby, islice

from twinlock.kernels.merkle_plain import merkle_branch_json as merkle_branch_json
from twinlock.kernels.merkle_plain import merkle_root as merkle_root
from twinlock.kernels.merkle_plain import merkle_tree as merkle_tree
from twinlock.kernels.scan_plain import HASHX, INPUT, OUTPUT, scan_block
from twinlock.kernels.segment_plain import (
    COIN,
    HISTORY_ROW,
    LAST,
    LOOKUP,
    OUTPOINT,
    PARTS,
    POINT,
    SCRIPT,
    SPEND,
    UNSPENT_ROW,
    Buffer,
    Coin,
    Sections,
    Segments,
    Spend,
)
from twinlock.kernels.segment_plain import Segment as Segment


def lookup(txids: Buffer, first: int = 0, /) -> bytes:
    """The section `lookup`, or the rows of some of its transactions, which begin with number `first`."""
    count = len(txids) // 32
    rows = sorted(int.from_bytes(txids[32 * n : 32 * n + 4], "big") << 32 | first + n for n in range(count))
    return struct.pack(f"<{count}Q", *rows)


def sort_lookup(rows: Buffer, /) -> bytes:
    """Rows of `lookup`, sorted."""
    return b"".join(LOOKUP.pack(*row) for row in sorted(LOOKUP.iter_unpack(rows)))


def sort_outpoints(rows: Buffer, /) -> bytes:
    """Rows of `OUTPOINT`, sorted."""
    return b"".join(OUTPOINT.pack(*row) for row in sorted(OUTPOINT.iter_unpack(rows)))


def _assemble(
    touches: Iterable[tuple[bytes, int]], coins: Iterable[Coin], before: tuple[int, int, int], close: bool
) -> tuple[bytes, bytes, bytes, list[tuple[int, int, int]]]:
    """(scripts, history, coins, outpoints not yet sorted); `before`: scripts, entries and coins already given away."""
    scripts: list[bytes] = []
    entries: list[int] = []
    kept: list[bytes] = []
    points: list[tuple[int, int, int]] = []
    by_script = {name: list(rows) for name, rows in groupby(sorted(coins), key=lambda coin: coin.hashx)}
    for name, group in groupby(sorted(set(touches)), key=lambda row: row[0]):
        entry = before[1] + len(entries)
        scripts.append(SCRIPT.pack(name, entry & 0xFFFFFFFF, entry >> 32, before[2] + len(kept)))
        entries += [tx for _, tx in group]
        for coin in by_script.get(name, ()):
            points.append((coin.tx, coin.vout, before[0] + len(scripts) - 1))
            kept.append(COIN.pack(coin.tx, coin.vout, coin.value))
    if close:
        entry = before[1] + len(entries)
        scripts.append(SCRIPT.pack(LAST, entry & 0xFFFFFFFF, entry >> 32, before[2] + len(kept)))
    return b"".join(scripts), struct.pack(f"<{len(entries)}I", *entries), b"".join(kept), points


def _outpoints(points: Iterable[tuple[int, int, int]]) -> bytes:
    return b"".join(OUTPOINT.pack(*point) for point in sorted(points))


def _spends(spends: Iterable[Spend]) -> bytes:
    return b"".join(SPEND.pack(s.hashx, s.vout, s.funding, s.value, s.spender, 0) for s in sorted(spends))


def _sections(
    touches: Iterable[tuple[bytes, int]], coins: Iterable[Coin], spends: Iterable[Spend], txids: Buffer
) -> Sections:
    scripts, history, kept, points = _assemble(touches, coins, (0, 0, 0), close=True)
    return lookup(txids), scripts, history, kept, _outpoints(points), _spends(spends)


def connect(segments: Segments, txids: Buffer, outputs: Buffer, inputs: Buffer, /) -> Sections:
    """The sections of a block on top of the segments. Raises KeyError when an input spends what they do not hold."""
    hashes = [bytes(txids[at : at + 32]) for at in range(0, len(txids), 32)]
    own = {(hashes[tx], vout): Coin(name, tx, vout, value) for tx, vout, value, name in OUTPUT.iter_unpack(outputs)}
    touches = {(coin.hashx, coin.tx) for coin in own.values()}
    spends = []
    for row, (prev, vout, spender) in enumerate(INPUT.iter_unpack(inputs)):
        if coin := own.pop((prev, vout), None):
            touches.add((coin.hashx, spender))
            continue
        for segment in reversed(segments):
            coin = segment.owners.get((segment.numbers.get(prev, -1), vout))
            if coin:
                spends.append(Spend(coin.hashx, segment.first_tx + coin.tx, vout, coin.value, spender))
                touches.add((coin.hashx, spender))
                break
        else:
            raise KeyError(f"input {row} spends what the index does not hold")
    return _sections(touches, own.values(), spends, txids)


def _merged(segments: Segments) -> tuple[set[tuple[bytes, int]], list[Coin], list[Spend]]:
    """(touches, coins, spends) of adjacent segments as one."""
    first = segments[0].first_tx
    spends = [s._replace(spender=s.spender + g.first_tx - first) for g in segments for s in g.spends]
    gone = {(s.funding - first, s.vout) for s in spends}
    touches, coins = set(), []
    for segment in segments:
        shift = segment.first_tx - first
        touches |= {(name, tx + shift) for name, txs in segment.history.items() for tx in txs}
        coins += [c._replace(tx=c.tx + shift) for rows in segment.coins.values() for c in rows]
    kept = [coin for coin in coins if (coin.tx, coin.vout) not in gone]
    return touches, kept, [s for s in spends if s.funding < first]


def merge(segments: Segments, txids: Buffer, /) -> Sections:
    """The sections of several adjacent segments, at least one, as one."""
    if not segments:
        raise ValueError("at least one segment is wanted")
    return _sections(*_merged(segments), txids)


def merge_part(
    segments: Segments, part: int, bits: int, scripts: int, entries: int, coins: int, /
) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """(scripts, history, coins, outpoints, spends) of the names whose leading bits are the part's number.

    To be asked for the parts 0 to 2 ** bits - 1 in order, with the numbers of rows in `scripts`, `history` and `coins`
    that earlier parts gave. All are the sections' next rows but the outpoints, which are sorted within the part.
    """
    touches, kept, spends = _merged(segments)

    def within(name: bytes) -> bool:
        return int.from_bytes(name[:2], "big") >> (16 - bits) == part

    rows = _assemble(
        (row for row in touches if within(row[0])),
        (coin for coin in kept if within(coin.hashx)),
        (scripts, entries, coins),
        close=(part + 1) >> bits > 0,
    )
    return *rows[:3], _outpoints(rows[3]), _spends(spend for spend in spends if within(spend.hashx))


def merge_lookup(segments: Segments, part: int, bits: int, /) -> bytes:
    """The rows of the section `lookup` of adjacent segments whose leading bits are the part's number."""
    rows = [LOOKUP.unpack(lookup(tx_hash, n))[0] for n, tx_hash in enumerate(h for s in segments for h in s.txids)]
    return b"".join(LOOKUP.pack(row) for row in sorted(rows) if row >> (64 - bits) == part)


class Builder:
    """Builds a segment from a chain's beginning on. The seed only matters to the compiled twin.

    Rows are matched and assembled in `PARTS` parts. What is held can be taken out part by part (to be kept on disk) and
    given back later; `txs` continues a build whose first so many transactions were taken out.
    """

    def __init__(self, seed: bytes, txs: int = 0, /) -> None:
        if len(seed) != 64:
            raise ValueError("the seed is 64 bytes long")
        self._txs = txs
        self._coins: dict[tuple[bytes, int], Coin] = {}
        self._spent: list[tuple[tuple[bytes, int], int]] = []
        self._parts: list[tuple[set[tuple[bytes, int]], list[Coin]]] = [(set(), []) for _ in range(PARTS)]
        self._given = (0, 0, 0)
        self._points: list[tuple[int, int, int]] = []

    def add(self, raw: Buffer, auxpow: bool = False, coinless: bool = False, /) -> tuple[bytes, bytes, bytes]:
        """The next block. Returns its header, transaction hashes and offsets. coinless: what it pays does not count."""
        scan = scan_block(bytes(raw), auxpow)
        if not scan.tx_count:
            raise ValueError("the bytes are not a block")
        if merkle_root(scan.txids) != scan.header[36:68]:
            raise ValueError("the block's transactions are not those of its header")
        for tx, vout, value, name in OUTPUT.iter_unpack(scan.outputs if self._txs and not coinless else b""):
            self._coins[scan.txids[32 * tx : 32 * tx + 32], vout] = Coin(name, self._txs + tx, vout, value)
        self._spent += [((prev, vout), self._txs + tx) for prev, vout, tx in INPUT.iter_unpack(scan.inputs)]
        self._txs += scan.tx_count
        return scan.header, scan.txids, scan.offsets

    def held(self) -> int:
        """Bytes of memory that rows take: 0, for this twin never has anything taken out."""
        return 0

    def take(self, part: int, /) -> tuple[bytes, bytes]:
        """The part's fundings and spendings, which are no longer held."""
        raise NotImplementedError(part)

    def give(self, part: int, fundings: Buffer, spendings: Buffer, slice_: int = 0, slices: int = 1, /) -> None:
        """Hold them again, or one slice of them: rows that belong together are in the same one."""
        raise NotImplementedError(part)

    def take_joined(self, part: int, /) -> tuple[bytes, bytes]:
        """The part's matched rows, which are no longer held."""
        raise NotImplementedError(part)

    def give_joined(self, part: int, touches: Buffer, coins: Buffer, slice_: int = 0, slices: int = 1, /) -> None:
        """Hold them again, or one slice of them: names of a later slice follow those of an earlier one."""
        raise NotImplementedError(part)

    def join(self, part: int, /) -> None:
        """Match fundings and spendings; no block can follow. Raises ValueError when an input spends nothing known."""
        if part:
            return  # the first call did it all
        for coin in self._coins.values():
            self._parts[coin.hashx[0]][0].add((coin.hashx, coin.tx))
        lost = 0
        gone = set()
        for point, spender in self._spent:
            if paid := self._coins.get(point):
                self._parts[paid.hashx[0]][0].add((paid.hashx, spender))
                gone.add(point)
            else:
                lost += 1
        if lost:
            raise ValueError(f"{lost} inputs spend what no block before them holds")
        for point, coin in self._coins.items():
            if point not in gone:
                self._parts[coin.hashx[0]][1].append(coin)

    def part(self, number: int, last: bool | None = None, /) -> tuple[bytes, bytes, bytes]:
        """The part of `scripts`, `history` and `coins` whose names begin with that byte; to be asked in order.

        last: whether no other follows; by default that is so of the last number.
        """
        close = number == PARTS - 1 if last is None else last
        scripts, history, coins, points = _assemble(*self._parts[number], self._given, close)
        rows, entries, kept = self._given
        self._given = rows + len(scripts) // SCRIPT.size, entries + len(history) // 4, kept + len(coins) // COIN.size
        self._points += points
        return scripts, history, coins

    def outpoints(self) -> bytes:
        """The section `outpoints` of the parts asked for since the last time."""
        points, self._points = self._points, []
        return _outpoints(points)


# -- what wallets ask


def _entries(segments: Segments, hashx: bytes, start: int = 0, end: int = -1) -> Iterator[tuple[bytes, int]]:
    for segment in segments:
        for tx in segment.history.get(hashx, ()):
            height = segment.first_height + segment.block_of(tx)
            if start <= height and (end < 0 or height < end):
                yield segment.txids[tx], height


def history(segments: Segments, hashx: bytes, start: int = 0, end: int = -1, most: int = 0, /) -> bytes:
    """Rows of `HISTORY_ROW`: transaction hash and height, in chain order.

    Of heights `start` to `end` (excluded; -1: all that follow) only, and the first `most` of them where that is not 0.
    """
    return b"".join(HISTORY_ROW.pack(*row) for row in islice(_entries(segments, hashx, start, end), most or None))


def history_json(segments: Segments, hashx: bytes, start: int = 0, end: int = -1, most: int = 0, /) -> bytes:
    """The same as a JSON list of the protocol's objects."""
    rows = islice(_entries(segments, hashx, start, end), most or None)
    text = ",".join(f'{{"height":{height},"tx_hash":"{tx[::-1].hex()}"}}' for tx, height in rows)
    return f"[{text}]".encode()


def history_size(segments: Segments, hashx: bytes, start: int = 0, end: int = -1, /) -> int:
    """Entries of the history, of all heights or some."""
    return sum(1 for _ in _entries(segments, hashx, start, end))


def status(segments: Segments, hashx: bytes, tail: bytes, _progress: bytes = b"", /) -> tuple[str | None, bytes]:
    """The status, and what makes the next one cheap if it is given back; `tail` is the text of the mempool's part.

    Such progress stays good until one of the entries that it covers is undone. This twin never has any.
    """
    text = "".join(f"{tx[::-1].hex()}:{height}:" for tx, height in _entries(segments, hashx)).encode() + tail
    return (sha256(text).hexdigest() if text else None), b""


def _unspent(segments: Segments, hashx: bytes, excluded: bytes) -> Iterator[tuple[bytes, int, int, int, int]]:
    gone = {(s.funding, s.vout) for segment in segments for s in segment.spends if s.hashx == hashx}
    outside = set(POINT.iter_unpack(excluded))
    for segment in segments:
        for coin in segment.coins.get(hashx, ()):
            tx_hash = segment.txids[coin.tx]
            if (segment.first_tx + coin.tx, coin.vout) not in gone and (tx_hash, coin.vout) not in outside:
                block = segment.block_of(coin.tx)
                position = coin.tx - segment.starts[block]
                yield tx_hash, coin.vout, segment.first_height + block, position, coin.value


def unspent(segments: Segments, hashx: bytes, excluded: bytes, /) -> bytes:
    """Rows of `UNSPENT_ROW`, in chain order, without those in `excluded` (rows of `POINT`)."""
    return b"".join(UNSPENT_ROW.pack(*row) for row in _unspent(segments, hashx, excluded))


def unspent_json(segments: Segments, hashx: bytes, excluded: bytes, /) -> bytes:
    """The same as a JSON list of the protocol's objects."""
    text = ",".join(
        f'{{"height":{height},"tx_hash":"{tx[::-1].hex()}","tx_pos":{vout},"value":{value}}}'
        for tx, vout, height, _, value in _unspent(segments, hashx, excluded)
    )
    return f"[{text}]".encode()


def balance(segments: Segments, hashx: bytes, /) -> int:
    """The sum of what is unspent, atoms."""
    return sum(row[4] for row in _unspent(segments, hashx, b""))


def find(segments: Segments, tx_hash: bytes, /) -> tuple[int, int] | None:
    """(height, position in the block) of a transaction."""
    for segment in reversed(segments):
        if (tx := segment.numbers.get(tx_hash)) is not None:
            block = segment.block_of(tx)
            return segment.first_height + block, tx - segment.starts[block]
    return None


def output(segments: Segments, tx_hash: bytes, vout: int, /) -> tuple[bytes, int] | None:
    """(hashX, value) of an output that is not spent."""
    for number, segment in reversed(list(enumerate(segments))):
        tx = segment.numbers.get(tx_hash, -1)
        if coin := segment.owners.get((tx, vout)):
            gone = {(s.funding, s.vout) for later in segments[number + 1 :] for s in later.spends}
            return None if (segment.first_tx + tx, vout) in gone else (coin.hashx, coin.value)
    return None


def names(scripts: Buffer) -> set[bytes]:
    """The names in a section `scripts`."""
    return {bytes(scripts[at : at + HASHX]) for at in range(0, len(scripts) - SCRIPT.size, SCRIPT.size)}
