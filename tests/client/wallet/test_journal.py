"""What a wallet stores is there again, in memory and on disk alike, and apart from other wallets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from twinlock.client.store import MemoryStore, SqliteStore, Store
from twinlock.client.store.vault import Cost
from twinlock.client.wallet.journal import Journal
from twinlock.client.wallet.keys import CHANGE, RECEIVE
from twinlock.seams import SystemEntropy

COIN_ID = bytes(36)
OTHER_ID = b"\x01" * 36


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    quick = Cost(passes=1, memory_kib=8, lanes=1)
    store: Store = MemoryStore()
    if request.param == "sqlite":
        store = SqliteStore(tmp_path, "open sesame", SystemEntropy(), cost=quick)
    yield store
    store.close()


def test_addresses_are_never_handed_out_twice(store: Store) -> None:
    journal = Journal(store, "btc.regtest")
    assert journal.handed_out() == {RECEIVE: 0, CHANGE: 0}
    journal.hand_out(RECEIVE, 4)
    journal.hand_out(CHANGE, 1)
    journal.hand_out(RECEIVE, 2)
    assert Journal(store, "btc.regtest").handed_out() == {RECEIVE: 5, CHANGE: 2}


def test_wallets_do_not_see_each_other(store: Store) -> None:
    bitcoin, litecoin = Journal(store, "btc.regtest"), Journal(store, "ltc.regtest")
    bitcoin.hand_out(RECEIVE, 9)
    bitcoin.lock(COIN_ID, "order")
    bitcoin.label("ab" * 32, "rent")
    bitcoin.stake(COIN_ID, "bond", b"script", 1, "account")
    bitcoin.keep("ab" * 32, b"raw", "send", 5, 6)
    assert litecoin.handed_out() == {RECEIVE: 0, CHANGE: 0}
    assert (litecoin.locks(), litecoin.labels(), litecoin.stakes(), litecoin.signed()) == ([], {}, [], [])


def test_locks_and_labels_come_and_go(store: Store) -> None:
    journal = Journal(store, "btc.regtest")
    journal.lock(COIN_ID, "order")
    journal.lock(OTHER_ID, "order")
    journal.lock(COIN_ID, "tx:ab")
    assert {lock.coin_id: lock.reference for lock in journal.locks()} == {COIN_ID: "tx:ab", OTHER_ID: "order"}
    journal.unlock(COIN_ID)
    journal.unlock(COIN_ID)
    assert [lock.coin_id for lock in journal.locks()] == [OTHER_ID]
    journal.label("ab" * 32, "rent")
    journal.label("cd" * 32, "food")
    journal.label("ab" * 32, "")
    assert journal.labels() == {"cd" * 32: "food"}


def test_a_signed_transaction_is_kept_with_its_bytes_and_marked_once_sent(store: Store) -> None:
    journal = Journal(store, "btc.regtest")
    record = journal.keep("ab" * 32, b"raw bytes", "swap", 1_700_000_000_000, 321)
    journal.sent(record)
    (read,) = journal.signed()
    assert (read.raw, read.purpose, read.fee, read.sent) == (b"raw bytes", "swap", 321, True)
    assert read.created == 1_700_000_000_000
    journal.drop_signed(read.txid)
    assert journal.signed() == []


def test_a_stake_is_closed_or_dropped(store: Store) -> None:
    journal = Journal(store, "btc.regtest")
    stake = journal.stake(COIN_ID, "swap", b"contract", 1_800_000_000, "match")
    assert not stake.closed
    journal.close(stake)
    (read,) = journal.stakes()
    assert (read.closed, read.stake, read.script, read.lock_time) == (True, "swap", b"contract", 1_800_000_000)
    journal.drop_stake(COIN_ID)
    assert journal.stakes() == []


def test_what_belongs_together_is_stored_together(store: Store) -> None:
    journal = Journal(store, "btc.regtest")
    with pytest.raises(ZeroDivisionError), store.transaction():
        journal.keep("ab" * 32, b"raw", "swap", 0, 1)
        journal.lock(COIN_ID, "tx:ab")
        _ = 1 // 0
    assert (journal.signed(), journal.locks()) == ([], [])
