"""Epochs are kept over restarts, the newest of them."""

from __future__ import annotations

import pytest

from twinlock.client import epochs
from twinlock.client.book_mirror import Verdict
from twinlock.client.epochs import EpochHistory, stored
from twinlock.client.store import MemoryStore
from twinlock.protocol.messages.book import EpochReport


def report(number: int) -> EpochReport:
    return EpochReport(
        market="ltc_btc",
        epoch=number,
        base_fee_rate=1,
        quote_fee_rate=1,
        match_summary=[],
        start_stamp=number,
        end_stamp=number + 1,
        match_volume=0,
        quote_volume=0,
        high_rate=0,
        low_rate=0,
        start_rate=0,
        end_rate=0,
    )


def test_only_the_newest_are_kept_and_each_once() -> None:
    store = MemoryStore()
    EpochHistory(store, "other:1", "ltc_btc").add(Verdict(5, 0, 0, True), report(5))
    for half in (range(epochs.KEPT // 2 + 5), range(epochs.KEPT // 2, epochs.KEPT + 10)):
        history = EpochHistory(store, "h:1", "ltc_btc")
        for number in half:
            history.add(Verdict(number, 1, 0, True), report(number))

    def attempt() -> None:
        with store.transaction():
            history.add(Verdict(0, 0, 0, True), report(epochs.KEPT + 10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert len(stored(store, "h:1", "ltc_btc")) == epochs.KEPT
    history.add(Verdict(epochs.KEPT + 10, 1, 0, True), report(epochs.KEPT + 10))
    kept = [record.epoch for record in stored(store, "h:1", "ltc_btc")]
    assert kept == list(range(11, epochs.KEPT + 11)), "what was not kept has pushed nothing out"
    assert [record.epoch for record in stored(store, "other:1", "ltc_btc")] == [5]
