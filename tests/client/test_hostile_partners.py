"""Contracts that are not as agreed, chains that change their mind, and servers that lie about a match."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from tests.client.fake_server import BTC, LTC
from tests.client.test_settlement import assert_books, assert_swapped, reached
from tests.client.world import SYMBOLS, World, world

from twinlock.chain.coins import coin
from twinlock.chain.families import family_of
from twinlock.chain.keys import PrivateKey
from twinlock.client.events import Notice
from twinlock.client.store.records import SwapRecord
from twinlock.protocol.codes import RpcError
from twinlock.protocol.messages.swaps import Audit
from twinlock.protocol.swap import Party, Verdict
from twinlock.protocol.wire import Hex

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        await it.funded("alice", "bob")
        yield it


Fake = Callable[[World, SwapRecord], tuple[bytes, int]]
"""A contract for the other leg of a match, and the value that it holds."""


def contract(it: World, record: SwapRecord, *, recipient: str = "", secret_hash: bytes = b"", lock: int = 0) -> bytes:
    swap, side = record.swap, record.party.other
    family = family_of(coin(SYMBOLS[record.other_asset], "regtest"))
    return family.make_contract(
        recipient or swap.addresses[record.party],
        family.address_of(PrivateKey(b"\x05" * 32).public),
        secret_hash or swap.secret_hash or sha256(b"\x06" * 32).digest(),
        lock or swap.terms.locks[side],
    )


def worth(record: SwapRecord) -> int:
    return record.swap.terms.amounts[record.party.other]


def stranger(record: SwapRecord) -> str:
    family = family_of(coin(SYMBOLS[record.other_asset], "regtest"))
    return family.address_of(PrivateKey(b"\x04" * 32).public)


FAKES: dict[str, Fake] = {
    "pays too little": lambda it, record: (contract(it, record), worth(record) - 1),
    "pays somebody else": lambda it, record: (contract(it, record, recipient=stranger(record)), worth(record)),
    "unlocks too soon": lambda it, record: (
        contract(it, record, lock=record.swap.terms.locks[record.party.other] - 1),
        worth(record),
    ),
    "has another secret hash": lambda it, record: (contract(it, record, secret_hash=b"\x07" * 32), worth(record)),
    "is no contract": lambda it, record: (b"\x51" * 97, worth(record)),
}


def replace_audits(it: World, name: str, fake: Fake) -> None:
    """The contract that this trader is shown is the fake one, truly paid on the chain."""

    @cache
    def paid() -> tuple[bytes, str]:
        record = it.swap(name)
        content, value = fake(it, record)
        return content, it.chains[record.other_asset].pay(b"\x00\x20" + sha256(content).digest(), value)

    def bend(route: str, payload: Any) -> Any:
        if route != "audit" or bytes(payload.order_id) != it.swap(name).order_id:
            return payload
        assert isinstance(payload, Audit)
        content, txid = paid()
        asset = it.swap(name).other_asset
        family, chain = family_of(coin(SYMBOLS[asset], "regtest")), it.chains[asset]
        shown = msgspec.structs.replace(
            payload,
            coin_id=Hex(family.coin_id(txid, 0)),
            contract=Hex(content),
            tx=Hex(chain.tx(txid).serialize()),
        )
        return it.server.signed(shown)

    it.server.bend = bend


@pytest.mark.parametrize("name", [name for name in FAKES if name != "has another secret hash"])
async def test_the_taker_locks_nothing_behind_a_contract_that_is_not_as_agreed(it: World, name: str) -> None:
    replace_audits(it, "bob", FAKES[name])
    _, taker = await it.matched()
    await it.settle(lambda: taker.swap.legs[Party.MAKER].verdict is not None)
    for _ in range(5):
        await it.mine()
        await it.clock.advance(10)
    assert taker.swap.legs[Party.MAKER].verdict is Verdict.REFUSED
    assert not taker.own_tx
    await it.server.revoke(it.server.matches[taker.match_id])
    await it.settle(lambda: taker.outcome == "void")
    await assert_books(it, "bob", taker)


@pytest.mark.parametrize("name", FAKES)
async def test_the_maker_reveals_no_secret_for_a_contract_that_is_not_as_agreed(it: World, name: str) -> None:
    maker, _ = await it.matched()
    await it.settle(lambda: bool(maker.swap.secret_hash))
    replace_audits(it, "alice", FAKES[name])
    await it.settle(lambda: maker.swap.legs[Party.TAKER].verdict is not None)
    assert maker.swap.legs[Party.TAKER].verdict is Verdict.REFUSED
    await it.pass_locks(maker.swap.terms.locks[Party.MAKER])
    await it.settle(lambda: bool(maker.outcome))
    assert maker.outcome == "refunded"
    assert not maker.redeem_tx
    await assert_books(it, "alice", maker)


async def test_a_transaction_that_is_not_the_contracts_is_not_believed(it: World) -> None:
    def bend(route: str, payload: Any) -> Any:
        return msgspec.structs.replace(payload, tx=Hex(b"\x00" * 60)) if route == "audit" else payload

    it.server.bend = bend
    _, taker = await it.matched()
    await it.settle(lambda: taker.swap.legs[Party.MAKER].known)
    await it.clock.advance(5)
    assert taker.swap.legs[Party.MAKER].verdict is not Verdict.SOUND


async def test_a_second_counterparty_address_is_refused_and_told(it: World) -> None:
    maker, _ = await it.matched()
    first = maker.swap.addresses[Party.TAKER]
    match = it.server.matches[maker.match_id]
    match.addresses[1] = family_of(coin("ltc", "regtest")).address_of(PrivateKey(b"\x03" * 32).public)
    await it.server.send_addresses(match)
    await it.clock.advance(1)
    assert maker.swap.addresses[Party.TAKER] == first != match.addresses[1]
    assert any("counterparty's address" in str(event) for event in it.events["alice"])
    await assert_swapped(it)


@pytest.mark.parametrize(
    "members",
    [
        {"fee_rate_base": 21},
        {"fee_rate_quote": 21},
        {"quantity": 10**12},
        {"rate": 1},
        {"server_time": 1},
        {"sig": Hex(b"\x01" * 70)},
    ],
    ids=lambda members: next(iter(members)),
)
async def test_a_match_that_no_honest_server_makes_is_not_accepted(it: World, members: dict[str, Any]) -> None:
    def bend(route: str, payload: Any) -> Any:
        if route != "match":
            return payload
        bent = [msgspec.structs.replace(match, **members) for match in payload]
        return bent if "sig" in members else [it.server.signed(match) for match in bent]

    it.server.bend = bend
    with pytest.raises(RpcError, match=r"match|rate|larger|epoch|signature"):
        await it.matched()
    assert [trader.swaps() for trader in it.traders.values()] == [[], []]


@pytest.mark.parametrize("asset", [LTC, BTC])
@pytest.mark.parametrize("step", ["swap_confirmed", "redeemed"])
async def test_a_reorg_that_drops_a_transaction_of_the_swap_is_repaired(it: World, asset: int, step: str) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "bob", step))
    chain = it.chains[asset]
    lost = tuple(tx.txid for tx in chain.blocks[-1][1:]) + tuple(chain.mempool)
    chain.reorg(1, drop=lost)
    await it.clock.advance(5)
    await assert_swapped(it)


async def test_a_chain_that_cannot_be_asked_delays_and_loses_nothing(it: World) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "alice", "swap_confirmed"))
    it.cut.add(BTC)
    await it.electrum[BTC].hang_up()
    await it.clock.advance(30)
    it.cut.clear()
    await it.clock.advance(30)
    await assert_swapped(it)
    assert not [e for e in it.events["alice"] if isinstance(e, Notice) and "defect" in e.text]


async def test_a_fee_spike_between_contract_and_redeem_costs_a_fee_and_no_coin(it: World) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "alice", "audited"))
    it.min_rate = {LTC: 90, BTC: 60}
    await assert_swapped(it)


async def test_a_refund_pays_what_a_full_mempool_asks(it: World) -> None:
    maker, _ = await it.matched()
    await it.crash("bob")
    await it.settle(lambda: reached(it, "alice", "swap_confirmed"))
    it.min_rate = {LTC: 90, BTC: 60}
    await it.pass_locks(maker.swap.terms.locks[Party.MAKER])
    await it.settle(lambda: maker.outcome == "refunded")
    it.min_rate = dict.fromkeys(it.min_rate, 1)
    await assert_books(it, "alice", maker)
