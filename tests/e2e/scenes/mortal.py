"""`twinlock client run` for stories: the real daemon on real seams, with a clock that is wrong and a moment to die.

A crossing is one side of a write to the store or of a broadcast: just before it and just after it. Crossings are
counted from the first record of the kind `since` on, each is written down before anything else happens, and at the
one that the part names the process kills itself, as a power cut would.

The part stands in a file, which is read at the start and again whenever a count begins: so one process can die in
its next swap at another crossing.

    python -m tests.e2e.scenes.mortal CONFIG PASSWORD_FILE PART_FILE
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from twinlock.chain.coins import Coin
from twinlock.client.config import ClientConfig, WalletConfig, load
from twinlock.client.control.serve import serving
from twinlock.client.store import Record, SqliteStore
from twinlock.client.store.base import Place, R
from twinlock.client.store.records import BondRecord, SwapRecord
from twinlock.client.trader import Trader
from twinlock.electrum.view import ChainView
from twinlock.seams import SystemClock, SystemEntropy

PAPERS = {
    SwapRecord: {"own_tx": "contract", "redeem_tx": "redemption", "refund_tx": "refund"},
    BondRecord: {"raw_tx": "bond", "refund_tx": "bond refund"},
}
"""What the signed transactions in records are for, by member."""

ASIDE = ("ledger", "epoch")
"""Records that have nothing to do with coins, and come with every epoch."""

END = "end"
"""What the diary says when nothing is counted any more."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """How a client differs from a healthy one. skew_ms: its clock is ahead. die_at: the crossing, 0 for none.
    die_before, die_after: the same by name, such as ``send contract`` or ``store redemption``.
    """

    skew_ms: int = 0
    since: str = "swap"
    die_at: int = 0
    die_before: str = ""
    die_after: str = ""

    @property
    def dies(self) -> bool:
        return bool(self.die_at or self.die_before or self.die_after)


def read(file: Path) -> Part:
    return msgspec.json.decode(file.read_bytes(), type=Part)


class Fate:
    """Counts crossings, of swaps until one is closed. `diary` gets a line for each, and one for the end; `sent` every
    transaction that is broadcast, as hex. file: of the part.
    """

    def __init__(self, file: Path, folder: Path, store: SqliteStore) -> None:
        self._file = file
        self._part = read(file)
        self._count = 0
        self._counting = self._closed = False
        self._diary = folder.with_suffix(".crossings")
        self._sent = folder.with_suffix(".sent")
        self._papers: dict[bytes, str] = {}
        known: list[Record] = [*store.all(SwapRecord), *store.all(BondRecord)]
        for record in known:
            self.news(record)
        # What is known from an earlier life begins no count, but what is still under way goes on with it.
        swaps = any(not swap.closed for swap in store.all(SwapRecord))
        bonds = any(bond.state not in ("posted", "refunded") for bond in store.all(BondRecord))
        self._counting, self._closed = bonds if self._part.since == "bond" else swaps, False

    def news(self, record: Record) -> str:
        """The word for a transaction that this record is the first to hold; empty if it holds none."""
        closed = isinstance(record, SwapRecord) and record.closed
        if not self._counting and record.kind == self._part.since and not closed:
            self._part, self._count, self._counting = read(self._file), 0, True
        self._closed |= self._counting and closed
        found = ""
        for member, what in PAPERS.get(type(record), {}).items():
            raw = getattr(record, member)
            if raw and raw not in self._papers:
                self._papers[raw] = found = what
        return found

    def paper(self, raw: bytes) -> str:
        """The word for a transaction."""
        return self._papers.get(raw, "payment")

    def sending(self, raw: bytes) -> None:
        with self._sent.open("a") as file:
            file.write(raw.hex() + "\n")

    def cross(self, when: str, what: str) -> None:
        """when: before or after."""
        if not self._counting:
            return
        self._count += 1
        over = self._closed and when == "after"
        with self._diary.open("a") as file:
            file.write(f"{self._count} {when} {what}\n")
            if over:
                file.write(f"{self._count} {END}\n")
        named = {"before": self._part.die_before, "after": self._part.die_after}[when]
        if self._count == self._part.die_at or (named and named == what):
            os.kill(os.getpid(), signal.SIGKILL)
        if over:
            self._counting = self._closed = False


class MortalStore:
    """A store whose owner may die at any outermost commit."""

    def __init__(self, store: SqliteStore, fate: Fate) -> None:
        self._store = store
        self._fate = fate
        self._depth = 0
        self._news = ""

    def put(self, record: Record) -> None:
        with self.transaction():
            # Of several records in one commit the one with a transaction gives the name.
            self._news = self._fate.news(record) or self._news or ("" if record.kind in ASIDE else record.kind)
            self._store.put(record)

    def get(self, record_type: type[R], key: str) -> R | None:
        return self._store.get(record_type, key)

    def all(self, record_type: type[R], prefix: str = "", most: int | None = None) -> list[R]:
        return self._store.all(record_type, prefix, most)

    def marked(
        self, record_type: type[R], mark: str, *, before: Place | None = None, most: int | None = None
    ) -> list[R]:
        return self._store.marked(record_type, mark, before=before, most=most)

    def delete(self, record_type: type[Record], key: str) -> None:
        with self.transaction():
            self._news = self._news or record_type.kind
            self._store.delete(record_type, key)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._depth += 1
        try:
            with self._store.transaction():
                yield
                if self._depth == 1 and self._news:
                    self._fate.cross("before", f"store {self._news}")
        finally:
            self._depth -= 1
        if self._depth == 0 and self._news:
            news, self._news = self._news, ""
            self._fate.cross("after", f"store {news}")

    def undo(self, step: Callable[[], object]) -> None:
        self._store.undo(step)

    def close(self) -> None:
        self._store.close()


class MortalView(ChainView):
    """A view of a chain whose owner may die at any broadcast."""

    fate: Fate

    async def broadcast(self, raw: bytes) -> str:
        what = f"send {self.fate.paper(raw)}"
        self.fate.cross("before", what)
        self.fate.sending(raw)
        txid = await super().broadcast(raw)
        self.fate.cross("after", what)
        return txid


class SkewedClock(SystemClock):
    """The machine's clock, set wrong."""

    def __init__(self, skew_ms: int) -> None:
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        return super().now_ms() + self._skew_ms


async def play(config: ClientConfig, password: str, part_file: Path) -> None:
    """The daemon, until somebody or fate kills it."""
    entropy, clock = SystemEntropy(), SkewedClock(read(part_file).skew_ms)
    disk = SqliteStore(config.folder, password, entropy)
    fate = Fate(part_file, config.folder, disk)

    def view(coin: Coin, wallet: WalletConfig) -> ChainView:
        opened = MortalView(coin, wallet.electrum, clock=clock, entropy=entropy)
        opened.fate = fate
        return opened

    config = msgspec.structs.replace(config, recovery_file=str(config.recovery_path))
    async with Trader(config, clock=clock, entropy=entropy, store=MortalStore(disk, fate), open_chain=view) as trader:
        events = trader.events()
        async with serving(trader, entropy) as address:
            say({"event": "ready", "control": address.url, "pid": address.pid})
            async for event in events:
                say(event)


def say(event: object) -> None:
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    file, password_file, part_file = map(Path, sys.argv[1:])
    uvloop.run(play(load(file), password_file.read_text().strip(), part_file))
