"""A store that keeps the recovery file true: whatever is committed is in the file before, or it is told why not.

The file is written before the store commits. So a contract that could be broadcast, because it is stored, is in the
file; where the file cannot be written, a new contract is refused before a coin moves, and everything else, which only
brings coins home, goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from twinlock.chain.coins import Network
from twinlock.client.recovery import file
from twinlock.client.recovery.file import Contents, RecoveryFileError
from twinlock.client.store.base import LIVE, Place, R, Record, Store
from twinlock.client.store.files import write_durably
from twinlock.client.store.records import AccountRecord, BondRecord, OrderRecord, SwapRecord
from twinlock.protocol.orders import OrderType
from twinlock.seams import Entropy

T = TypeVar("T", bound=Record)

KINDS: tuple[type[Record], ...] = (AccountRecord, BondRecord, OrderRecord, SwapRecord)


class MirroredStore:
    """Behaves as `store`, and keeps the file at `path`. complain: told once of each reason why it cannot.

    Raises RecoveryFileError, and commits nothing, when a contract that was never in the file cannot be put there.
    """

    def __init__(
        self,
        store: Store,
        path: Path,
        key: bytes,
        network: Network,
        entropy: Entropy,
        complain: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._path = path
        self._key = key
        self._network = network
        self._entropy = entropy
        self._complain = complain
        self._complaint = ""
        self._depth = 0
        self._records = _in_flight(store)
        self._written = b""
        self._contracts: set[str] = set()
        """Swaps whose contract is in the file, or was there before."""
        self._contracts = {swap.key for swap in self._all(SwapRecord) if _has_contract(swap)}
        self._spare_strangers_file()
        self._refresh()

    def put(self, record: Record) -> None:
        with self.transaction():
            self._store.put(record)
            if isinstance(record, KINDS):
                self._records[record.kind][record.key] = _essence(record)

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
            self._store.delete(record_type, key)
            self._records.get(record_type.kind, {}).pop(key, None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As the store's; the file is written before the outermost commit."""
        if self._depth:
            with self._store.transaction():
                yield
            return
        before = {kind: dict(records) for kind, records in self._records.items()}
        self._depth += 1
        try:
            with self._store.transaction():
                yield
                self._refresh()
        except BaseException:
            self._records = before
            raise
        finally:
            self._depth -= 1

    def undo(self, step: Callable[[], object]) -> None:
        self._store.undo(step)

    def close(self) -> None:
        self._store.close()

    def _spare_strangers_file(self) -> None:
        """A file that an empty store would overwrite is what the words alone cannot bring back: it is put aside."""
        try:
            told = file.read(self._key, self._path.read_bytes())
            foreign = any((told.accounts, told.bonds, told.orders, told.swaps)) and not any(self._records.values())
        except OSError:
            return
        except RecoveryFileError:
            foreign = True
        if foreign:
            number = 1
            while (aside := self._path.with_name(f"{self._path.name}.aside-{number}")).exists():
                number += 1
            self._path.rename(aside)
            self._complain(f"the recovery file that was there is kept as {aside}: `client recover --file` reads it")

    def _refresh(self) -> None:
        """Write the file if it is to hold something else than it does."""
        contents = self._contents()
        # What is over stays over: a commit costs what is in flight, and not what ever was.
        kept: tuple[tuple[Record, ...], ...] = (contents.accounts, contents.bonds, contents.orders, contents.swaps)
        self._records = {
            kind.kind: {record.key: record for record in records} for kind, records in zip(KINDS, kept, strict=True)
        }
        plain = file.pack(contents)
        if plain == self._written:
            return
        contracts = {swap.key for swap in self._all(SwapRecord) if _has_contract(swap)}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_durably(self._path, file.seal(self._key, plain, self._entropy))
        except OSError as error:
            text = f"the recovery file {self._path} cannot be written: {error.strerror or error}"
            if contracts - self._contracts:
                raise RecoveryFileError(text, fix="make room, or name another recovery_file") from error
            if text != self._complaint:
                self._complaint = text
                self._complain(text)
            return
        self._written, self._contracts, self._complaint = plain, contracts, ""

    def _contents(self) -> Contents:
        swaps = tuple(swap for swap in self._all(SwapRecord) if not swap.closed)
        swapped = {swap.order_key for swap in swaps}
        return Contents(
            network=self._network,
            accounts=tuple(self._all(AccountRecord)),
            bonds=tuple(bond for bond in self._all(BondRecord) if bond.state != "refunded"),
            orders=tuple(order for order in self._all(OrderRecord) if order.key in swapped or _at_stake(order)),
            swaps=swaps,
        )

    def _all(self, kind: type[T]) -> list[T]:
        records = self._records[kind.kind]
        return [record for _, record in sorted(records.items()) if isinstance(record, kind)]


def _in_flight(store: Store) -> dict[str, dict[str, Record]]:
    """By kind and key, what the file may have to hold: of orders and swaps not those that are over."""
    swaps = store.marked(SwapRecord, LIVE)
    orders = store.marked(OrderRecord, LIVE) + [
        order for swap in swaps if (order := store.get(OrderRecord, swap.order_key)) is not None
    ]
    found: tuple[Sequence[Record], ...] = (store.all(AccountRecord), store.all(BondRecord), orders, swaps)
    return {
        kind.kind: {record.key: _essence(record) for record in records}
        for kind, records in zip(KINDS, found, strict=True)
    }


def _at_stake(order: OrderRecord) -> bool:
    """Coins wait for a trade until they are released; a cancel has none, and is forgotten once it has worked."""
    return order.active if order.type == OrderType.CANCEL else not order.funds_released


def _has_contract(swap: SwapRecord) -> bool:
    return swap.swap.legs[swap.party].known and not swap.closed


def _essence(record: Record) -> Record:
    """A copy without what every block changes and every chain tells anew."""
    if not isinstance(record, SwapRecord):
        return replace(record)
    legs = tuple(replace(leg, depth=0, median_time=0, confirmed_ms=None) for leg in record.swap.legs)
    return replace(record, swap=replace(record.swap, legs=legs))
