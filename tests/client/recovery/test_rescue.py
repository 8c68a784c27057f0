"""The disk is gone in mid-swap: with the server alive the words suffice, with the server dead the recovery file."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.client.fake_server import MARKET
from tests.client.test_proof import proof_of
from tests.client.test_settlement import reached
from tests.client.world import FUNDS, RATE, FusedStore, World

from twinlock.chain import bip39
from twinlock.client.config import ClientConfig
from twinlock.client.keys import TraderKeys
from twinlock.client.recovery.file import read
from twinlock.client.recovery.rescue import Report, prepare, rescue
from twinlock.client.seed import Phrase, required
from twinlock.client.store.records import SwapRecord
from twinlock.client.trader import Trader
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.orders import Side
from twinlock.protocol.proof import ProofError, verify
from twinlock.protocol.swap import Party

pytestmark = pytest.mark.anyio

QUANTITY, PRICE = 10_000_000, 25_000
FEES = 5_000


class Losing(World):
    """A world in which disks are lost and servers die; recovery files lie on another disk."""

    def __init__(self, elsewhere: Path) -> None:
        super().__init__()
        self.elsewhere = elsewhere
        self._starting = ""

    def file(self, name: str) -> Path:
        return self.elsewhere / f"{name}.recovery"

    async def start(self, name: str) -> Trader:
        self._starting = name
        return await super().start(name)

    def config(self) -> ClientConfig:
        return msgspec.structs.replace(super().config(), recovery_file=str(self.file(self._starting)))

    async def kill_server(self) -> None:
        self.server.down = True
        await self.server.hang_up()
        await self.clock.advance(1)

    async def lose_disk(self, name: str, *, with_file: bool) -> None:
        """kill -9, an empty disk, the words typed in again."""
        await self.crash(name)
        words = self.words(name)
        store = self.stores[name] = FusedStore(self.fuses[name])
        self._starting = name
        prepare(store, self.config(), Phrase(words), self.file(name) if with_file else None)
        if not with_file:
            self.file(name).unlink()
        await self.start(name)

    def copy(self, name: str) -> FusedStore:
        """A copy of the store as it is now."""
        store = self.stores[name]
        assert isinstance(store, FusedStore)
        return store.copied()

    async def put_back(self, name: str, copy: FusedStore) -> None:
        """kill -9, an older copy of the store, and the recovery file that was newer."""
        await self.crash(name)
        words = self.words(name)
        self.stores[name], self._starting = copy, name
        prepare(copy, self.config(), Phrase(words), self.file(name))
        await self.start(name)

    def words(self, name: str) -> str:
        return required(self.stores[name]).words


@asynccontextmanager
async def losing(elsewhere: Path) -> AsyncIterator[Losing]:
    it = Losing(elsewhere)
    try:
        await it.funded("alice", "bob")
        yield it
    finally:
        for name in list(it.traders):
            await it.stop(name)
        await it.server.hang_up()
        for server in it.electrum.values():
            await server.hang_up()
        gc.collect()


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Losing]:
    async with losing(tmp_path) as it:
        yield it


async def assert_swapped(it: Losing, before: dict[str, dict[str, int]], *, maker_sells: bool = True) -> None:
    """What left one wallet arrived in the other, less fees."""
    await it.mine(3)
    await it.clock.advance(10)
    for name in before:
        sells = maker_sells == (name == "alice")
        gain = {symbol: it.total(name)[symbol] - before[name][symbol] for symbol in ("ltc", "btc")}
        assert 0 <= (-QUANTITY if sells else QUANTITY) - gain["ltc"] < FEES
        assert 0 <= (PRICE if sells else -PRICE) - gain["btc"] < FEES


def over(it: Losing) -> bool:
    return all(swap.outcome for trader in it.traders.values() for swap in trader.swaps())


STEPS = [
    ("alice", "swap_sent"),
    ("alice", "swap_accepted"),
    ("alice", "audited"),
    ("alice", "redeemed"),
    ("bob", "swap_sent"),
    ("bob", "swap_confirmed"),
    ("bob", "counterparty_redeemed"),
]


@pytest.mark.parametrize(("name", "step"), STEPS)
async def test_the_file_finishes_a_swap(it: Losing, name: str, step: str) -> None:
    before = {who: it.total(who) for who in ("alice", "bob")}
    await it.matched()
    await it.settle(lambda: reached(it, name, step))
    await it.lose_disk(name, with_file=True)
    await it.settle(lambda: over(it), rounds=60)
    assert [it.swap(who).outcome for who in before] == ["swapped", "swapped"]
    await assert_swapped(it, before)


@pytest.mark.parametrize("alive", [True, False], ids=["server", "no-server"])
@pytest.mark.parametrize(("name", "step"), [("alice", "audited"), ("bob", "swap_confirmed")])
async def test_an_older_copy_of_the_store_and_the_file_finish_a_swap(
    it: Losing, name: str, step: str, alive: bool
) -> None:
    before = {who: it.total(who) for who in ("alice", "bob")}
    await it.call(it.traders["alice"].limit(MARKET, Side.SELL, QUANTITY, RATE))
    await it.close_epoch()
    copies = {"alice": it.copy("alice")}  # Which knows the order, and no match of it.
    await it.call(it.traders["bob"].limit(MARKET, Side.BUY, QUANTITY, RATE))
    await it.close_epoch()
    copies["bob"] = it.copy("bob")  # Which knows the match, and nothing of the contract.
    assert [swap.own_tx for swap in copies["bob"].all(SwapRecord)] == [b""]
    await it.settle(lambda: reached(it, "alice", "audited") and reached(it, name, step))
    if not alive:
        await it.kill_server()
    await it.put_back(name, copies[name])
    await it.settle(lambda: over(it), rounds=60)
    await assert_swapped(it, before)


@pytest.mark.parametrize(("name", "step"), [("alice", "audited"), ("bob", "swap_confirmed")])
async def test_the_file_finishes_a_swap_without_the_server(it: Losing, name: str, step: str) -> None:
    before = {who: it.total(who) for who in ("alice", "bob")}
    await it.matched()
    await it.settle(lambda: reached(it, "alice", "audited") and reached(it, name, step))
    await it.kill_server()
    await it.lose_disk(name, with_file=True)
    await it.settle(lambda: over(it), rounds=60)
    await assert_swapped(it, before)


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_the_file_refunds_without_the_server(it: Losing, name: str) -> None:
    before = it.total(name)
    await it.matched()
    if name == "alice":
        await it.crash("bob")  # before he can answer with a contract of his own
    await it.settle(lambda: reached(it, name, "swap_accepted"))
    await it.kill_server()
    party = Party.MAKER if name == "alice" else Party.TAKER
    locks = it.swap(name).swap.terms.locks
    if name == "bob":
        await it.crash("alice")
    await it.lose_disk(name, with_file=True)
    await it.pass_locks(locks[party])
    await it.settle(lambda: it.swap(name).outcome == "refunded", rounds=60)
    await it.mine(2)
    await it.clock.advance(10)
    asset = "ltc" if name == "alice" else "btc"
    assert 0 < before[asset] - it.total(name)[asset] < FEES


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_a_contract_that_the_server_never_heard_of_is_found_on_the_chain(it: Losing, name: str) -> None:
    before = {who: it.total(who) for who in ("alice", "bob")}
    deaf = {"init": RpcError(ErrorCode.TRANSACTION_UNDISCOVERED, "not seen yet")}
    if name == "alice":
        it.server.refuse |= deaf
    await it.matched()
    if name == "bob":
        await it.crash("bob")
        await it.settle(lambda: reached(it, "alice", "swap_accepted"))
        await it.start("bob")
        it.server.refuse |= deaf
    await it.settle(lambda: reached(it, name, "swap_sent"))
    assert not it.swap(name).swap.legs[it.swap(name).party].contract_acknowledged
    it.server.refuse.clear()
    await it.lose_disk(name, with_file=False)
    await it.until(lambda: bool(it.traders[name].swaps()))
    await it.settle(lambda: over(it), rounds=60)
    await assert_swapped(it, before)


async def test_the_file_is_there_before_the_contract_is_broadcast(it: Losing) -> None:
    await it.matched()
    key = TraderKeys(bip39.to_seed(it.words("alice"))).recovery_key()
    await it.settle(lambda: reached(it, "alice", "contract_signed"))
    (swap,) = read(key, it.file("alice").read_bytes()).swaps
    assert swap.own_tx == it.swap("alice").own_tx
    assert swap.swap.legs[Party.MAKER].contract


async def test_no_coin_moves_while_the_file_cannot_be_written(it: Losing) -> None:
    before = {who: it.total(who) for who in ("alice", "bob")}
    file = it.file("alice")
    file.unlink()
    draft = file.with_name(f".{file.name}.new")
    draft.mkdir()
    await it.matched()
    for _ in range(5):
        await it.mine()
        await it.clock.advance(5)
    assert not it.swap("alice").swap.legs[Party.MAKER].known
    assert not it.chains[2].mempool
    assert it.traders["alice"].wallet("ltc").balance().total == FUNDS
    draft.rmdir()
    await it.settle(lambda: over(it), rounds=60)
    await assert_swapped(it, before)


async def test_a_bond_is_found_on_the_chain_when_the_server_is_gone_and_no_file_is_left(it: Losing) -> None:
    await it.kill_server()
    await it.lose_disk("alice", with_file=False)
    report = await it.call(rescue(it.traders["alice"], finish=False))
    assert isinstance(report, Report)
    (bond,) = report.bonds
    assert (bond.amount, bond.state) == (500_000, "expired")
    assert report.silent == ["exchange.test:7232"]
    assert it.traders["alice"].wallet("btc").balance().bonded == 500_000
    await it.pass_locks(bond.lock_time)
    await it.settle(lambda: it.traders["alice"].wallet("btc").balance().bonded == 0)
    assert 0 < FUNDS - it.total("alice")["btc"] < FEES


async def test_the_report_names_what_was_found(it: Losing) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "alice", "swap_accepted"))
    account = it.traders["alice"].venue().desk.account
    assert account is not None
    await it.lose_disk("alice", with_file=False)
    report = await it.call(rescue(it.traders["alice"], finish=False))
    assert isinstance(report, Report)
    assert [found.account_id for found in report.accounts] == [account.account_id.hex()]
    assert [bond.state for bond in report.bonds] == ["posted"]
    assert report.open_swaps == 1 and not report.silent


async def test_a_stale_file_does_no_harm(it: Losing) -> None:
    """The copy was made before the contract; the match went on; then the disk was lost."""
    before = {who: it.total(who) for who in ("alice", "bob")}
    await it.matched()
    stale = it.file("alice").read_bytes()
    await it.settle(lambda: reached(it, "alice", "swap_accepted"))
    it.file("alice").write_bytes(stale)
    await it.lose_disk("alice", with_file=True)
    await it.settle(lambda: over(it), rounds=60)
    assert len([tx for block in it.chains[2].blocks for tx in block if _pays(tx, QUANTITY)]) == 1
    await assert_swapped(it, before)


def _pays(tx: object, value: int) -> bool:
    return any(out.value == value for out in tx.outputs)  # type: ignore[attr-defined]


async def test_a_match_without_a_contract_of_ours_lapses(it: Losing) -> None:
    """Another client of this seed may be at work on it: nothing is funded that is not remembered."""
    before = {who: it.total(who) for who in ("alice", "bob")}
    draft = it.file("bob").with_name(f".{it.file('bob').name}.new")
    draft.mkdir()  # Bob's recovery file cannot be written, so it does not pay.
    await it.matched()
    await it.settle(lambda: reached(it, "alice", "swap_accepted"))
    assert not it.swap("bob").swap.legs[Party.TAKER].known
    locks = it.swap("alice").swap.terms.locks
    draft.rmdir()
    await it.lose_disk("bob", with_file=False)
    for _ in range(10):
        await it.mine()
        await it.clock.advance(5)
    assert not it.traders["bob"].swaps()
    await it.pass_locks(locks[Party.MAKER])
    await it.settle(lambda: it.swap("alice").outcome == "refunded")
    await it.mine(2)
    await it.clock.advance(10)
    assert it.total("bob")["ltc"] == before["bob"]["ltc"]
    assert 0 < before["alice"]["ltc"] - it.total("alice")["ltc"] < FEES


async def test_what_the_words_alone_cannot_prove_the_file_can_later(it: Losing) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "alice", "swap_accepted"))
    file = it.file("alice").read_bytes()
    await it.lose_disk("alice", with_file=False)
    await it.settle(lambda: over(it), rounds=60)
    await it.mine(6)
    balances = it.total("alice")

    with pytest.raises(ProofError) as refused:
        await proof_of(it, "alice")
    assert refused.value.code == "proof.order"
    assert "words" in refused.value.fix and "recover --file" in refused.value.fix

    it.file("alice").write_bytes(file)
    await it.crash("alice")
    prepare(it.stores["alice"], it.config(), Phrase(it.words("alice")), it.file("alice"))
    await it.start("alice")
    assert verify(await proof_of(it, "alice")).outcome == "swapped"
    assert it.swap("alice").closed
    await it.mine()
    await it.clock.advance(10)
    assert it.total("alice") == balances
    for symbol in balances:
        balance = it.traders["alice"].wallet(symbol).balance()
        assert balance.available + balance.bonded == balance.total


async def test_a_contract_of_a_revoked_match_is_at_least_pointed_at(it: Losing) -> None:
    await it.matched()
    await it.settle(lambda: reached(it, "alice", "swap_confirmed"))
    (match,) = it.server.matches.values()
    await it.crash("bob")
    await it.server.revoke(match)
    match.active = False
    file = it.file("alice").read_bytes()
    await it.lose_disk("alice", with_file=False)
    report = await it.call(rescue(it.traders["alice"], finish=False))
    assert isinstance(report, Report)
    assert not report.swaps
    assert [(loose.asset, loose.amount) for loose in report.loose] == [("ltc", QUANTITY)]

    it.file("alice").write_bytes(file)
    await it.lose_disk("alice", with_file=True)
    report = await it.call(rescue(it.traders["alice"], finish=False))
    assert isinstance(report, Report)
    assert report.open_swaps == 1 and not report.loose
