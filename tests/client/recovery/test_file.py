"""The recovery file by itself: opens with the seed, with nothing else, and only whole; and it is always true."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from twinlock.chain.coins import Network
from twinlock.client.errors import ConfigError
from twinlock.client.keys import TraderKeys
from twinlock.client.recovery.file import MAGIC, Contents, RecoveryFileError, pack, read, seal
from twinlock.client.recovery.mirror import MirroredStore
from twinlock.client.recovery.restore import check_network, restore
from twinlock.client.store import MemoryStore
from twinlock.client.store.records import AccountRecord, MetaRecord, OrderRecord, SwapRecord
from twinlock.protocol.orders import OrderType
from twinlock.protocol.swap import Party, Swap, agree, apply
from twinlock.protocol.swap.events import ChainTime, ContractMade, Seen
from twinlock.seams import SeededEntropy

KEY = TraderKeys(b"\x07" * 64).recovery_key()
ACCOUNT = AccountRecord(host="a:1", server_pubkey=b"\2" * 33, key_index=0, account_id=b"\3" * 32, exists=True)


def swap(number: int = 1, *, contract: bool = False, closed: bool = False) -> SwapRecord:
    match_id = number.to_bytes(32)
    terms = agree(match_id, quantity=10**8, rate=25_000, maker_sells=True, made_ms=1, base_depth=1, quote_depth=1)
    facts = Swap(terms=terms)
    if contract:
        facts = apply(facts, ContractMade(Party.MAKER, b"\5" * 36, b"\6" * 97, b"\7" * 32))
    return SwapRecord(
        host="a:1",
        party=Party.MAKER,
        order_key="",
        order_id=bytes(32),
        market="ltc_btc",
        base=2,
        quote=0,
        quantity=10**8,
        rate=25_000,
        own_asset=2,
        other_asset=0,
        fee_limit=10,
        swap=facts,
        closed=closed,
    )


def order(number: int, *, kind: OrderType = OrderType.LIMIT, funds_released: bool = False) -> OrderRecord:
    return OrderRecord(
        host="a:1",
        market="ltc_btc",
        base=2,
        quote=0,
        type=kind,
        side=1,
        quantity=10**8,
        commitment=number.to_bytes(32),
        preimage=bytes(32),
        tclient=number,
        status="booked",
        funds_released=funds_released,
    )


SEALED = seal(KEY, pack(Contents(network=Network.REGTEST, accounts=(ACCOUNT,), swaps=(swap(),))), SeededEntropy(1))


def test_what_went_in_comes_out_with_the_seed_only() -> None:
    contents = read(KEY, SEALED)
    assert (contents.accounts, contents.swaps) == ((ACCOUNT,), (swap(),))
    with pytest.raises(RecoveryFileError):
        read(TraderKeys(b"\x08" * 64).recovery_key(), SEALED)
    assert ACCOUNT.host.encode() not in SEALED


@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
def test_a_damaged_file_is_refused_whole(place: int, bit: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= 1 << bit
    with pytest.raises(RecoveryFileError):
        read(KEY, bytes(damaged))


@given(st.integers(0, len(SEALED) - 1))
def test_a_file_that_was_cut_off_is_refused(size: int) -> None:
    with pytest.raises(RecoveryFileError):
        read(KEY, SEALED[:size])
    with pytest.raises(RecoveryFileError):
        read(KEY, MAGIC)


def mirrored(path: Path, complaints: list[str] | None = None) -> MirroredStore:
    complain = complaints.append if complaints is not None else lambda _: None
    return MirroredStore(MemoryStore(), path, KEY, Network.REGTEST, SeededEntropy(2), complain)


def test_the_file_holds_what_the_store_commits(tmp_path: Path) -> None:
    path = tmp_path / "r"
    store = mirrored(path)
    store.put(ACCOUNT)
    store.put(MetaRecord(name="words", value=b"salad"))
    with store.transaction():
        store.put(swap(1, contract=True))
        store.put(swap(2))
    assert read(KEY, path.read_bytes()).swaps == (swap(1, contract=True), swap(2))
    store.put(swap(2, closed=True))
    store.delete(SwapRecord, swap(1).key)
    assert read(KEY, path.read_bytes()).swaps == ()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_holds_orders_with_coins_or_swaps_that_are_not_over_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "r"
    store = mirrored(path)

    def told() -> list[OrderRecord]:
        return list(read(KEY, path.read_bytes()).orders)

    funded, swapping, cancel = order(1), order(2, funds_released=True), order(3, kind=OrderType.CANCEL)
    match = replace(swap(1, contract=True), order_key=swapping.key)
    with store.transaction():
        for record in (funded, swapping, cancel, match):
            store.put(record)
    assert told() == [funded, swapping, cancel]
    store.put(replace(cancel, status="executed"))
    assert told() == [funded, swapping]
    store.put(replace(match, outcome="swapped"))
    assert told() == [funded, swapping]  # Its proof may be wanted by whoever finishes it.
    store.put(replace(match, outcome="swapped", closed=True))
    assert told() == [funded]
    store.put(replace(funded, status="executed"))
    assert told() == [replace(funded, status="executed")]
    store.put(replace(funded, status="executed", funds_released=True))
    assert told() == []
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.put(funded)
        _ = 1 // 0
    store.put(ACCOUNT)
    assert told() == []


def test_a_transaction_that_fails_leaves_both_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "r"
    store = mirrored(path)
    store.put(swap(1))
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.put(swap(2))
        _ = 1 // 0
    store.put(ACCOUNT)
    assert read(KEY, path.read_bytes()).swaps == (swap(1),)
    assert store.all(SwapRecord) == [swap(1)]


def test_a_block_does_not_write_the_file_anew(tmp_path: Path) -> None:
    path = tmp_path / "r"
    store = mirrored(path)
    record = swap(1, contract=True)
    store.put(record)
    before = path.read_bytes()
    record.swap = apply(record.swap, ChainTime(Party.MAKER, 99))
    store.put(record)
    assert path.read_bytes() == before
    record.swap = apply(record.swap, Seen(Party.MAKER, 3, 5))
    store.put(record)
    assert path.read_bytes() != before


def test_no_contract_is_stored_that_the_file_cannot_hold_and_all_else_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    complaints: list[str] = []
    store = mirrored(folder / "r", complaints)
    store.put(swap(1, contract=True))
    (folder / "r").unlink()
    folder.rmdir()
    folder.write_text("the disk is gone")
    with pytest.raises(RecoveryFileError):
        store.put(swap(2, contract=True))
    assert store.get(SwapRecord, swap(2).key) is None
    store.put(swap(1, contract=True, closed=True))
    store.put(swap(3))
    assert len(complaints) == 1
    folder.unlink()
    store.put(swap(2, contract=True))
    assert read(KEY, (folder / "r").read_bytes()).swaps == (swap(2, contract=True), swap(3))


def test_restoring_adds_what_is_missing_and_leaves_the_rest(tmp_path: Path) -> None:
    contents = Contents(network=Network.REGTEST, accounts=(ACCOUNT,), swaps=(swap(1), swap(2)))
    store = MemoryStore()
    store.put(swap(2, closed=True))
    assert restore(store, contents, ["a:1"]) == 2
    assert store.all(SwapRecord) == [swap(1), swap(2, closed=True)]
    assert restore(store, contents, ["a:1"]) == 0
    with pytest.raises(ConfigError) as refused:
        restore(MemoryStore(), contents, ["b:1"])
    assert refused.value.code == "recovery.servers"
    with pytest.raises(RecoveryFileError):
        check_network(contents, "mainnet")
