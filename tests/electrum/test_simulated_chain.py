"""The simulated chain keeps the rules that the tests and simulations over it rely on."""

from __future__ import annotations

import pytest
from tests.electrum.worlds import Purse, SimulatedWorld, point

from twinlock.chain.coins import coin
from twinlock.chain.header import check_links
from twinlock.chain.merkle import check_inclusion
from twinlock.chain.script import scripthash
from twinlock.electrum.proofs import check_history
from twinlock.electrum.simulated_chain import RefusedError, SimulatedChain


@pytest.fixture
def world() -> SimulatedWorld:
    return SimulatedWorld("btc")


@pytest.fixture
def chain(world: SimulatedWorld) -> SimulatedChain:
    return world.chain


def test_blocks_link_commit_to_their_transactions_and_move_time(chain: SimulatedChain) -> None:
    before = chain.median_time()
    txid = chain.pay(b"\x51\x51", 5_000)
    chain.mine(12)
    check_links(chain.headers)
    assert chain.median_time() == before + 12 * 600
    height = chain.height - 11
    found = chain.branch(txid, height)
    assert found is not None
    branch = [bytes.fromhex(node)[::-1] for node in found[0]]
    check_inclusion(bytes.fromhex(txid)[::-1], branch, found[1], chain.headers[height].merkle_root)
    assert chain.branch(txid, height + 1) is None


def test_a_chain_without_ripe_blocks_has_no_money() -> None:
    young = SimulatedChain(coin("ltc", "regtest"))
    young.mine(99)
    with pytest.raises(RefusedError):
        young.pay(b"\x51\x51", 5_000)
    young.mine(2)
    young.pay(b"\x51\x51", 5_000)


def test_histories_are_in_the_protocols_order(world: SimulatedWorld, chain: SimulatedChain) -> None:
    purse = Purse(world, 1)
    confirmed = chain.pay(purse.script, 50_000)
    chain.mine()
    spend = purse.spend(point(confirmed, 0), 50_000, purse.script, 20_000)
    child = purse.sweep(point(spend.txid, 0), 20_000, purse.script)
    chain.submit(spend.raw)
    chain.submit(child.raw)
    history = chain.history(purse.script)
    assert [(item.tx_hash, item.height, item.fee) for item in history] == [
        (confirmed, chain.height, None),
        (spend.txid, 0, spend.fee),
        (child.txid, -1, child.fee),
    ]
    check_history(history)
    assert [value for _, value, _ in chain.unspent_of(scripthash(purse.script))] == [
        50_000 - 20_000 - spend.fee,
        20_000 - child.fee,
    ]


def test_refusals_are_in_a_nodes_words(world: SimulatedWorld, chain: SimulatedChain) -> None:
    purse = Purse(world, 1)
    coin_point = point(chain.pay(purse.script, 50_000), 0)
    for payment, words in (
        (purse.sweep(point("ab" * 32, 0), 50_000, purse.script), "bad-txns-inputs-missingorspent"),
        (purse.sweep(coin_point, 60_000, purse.script), "bad-txns-in-belowout"),
        (purse.sweep(coin_point, 50_000, purse.script, fee_rate=0), "min relay fee not met"),
    ):
        with pytest.raises(RefusedError, match=words):
            chain.submit(payment.raw)
    chain.submit(purse.sweep(coin_point, 50_000, purse.script).raw)
    with pytest.raises(RefusedError, match="bad-txns-inputs-missingorspent"):
        chain.submit(purse.sweep(coin_point, 50_000, b"\x51\x52").raw)


def test_forgetting_a_transaction_forgets_its_children(world: SimulatedWorld, chain: SimulatedChain) -> None:
    purse = Purse(world, 1)
    paid = chain.pay(purse.script, 50_000)
    child = purse.sweep(point(paid, 0), 50_000, purse.script)
    chain.submit(child.raw)
    chain.forget(paid)
    assert chain.mempool == {}
    assert chain.history(purse.script) == []


def test_a_reorg_returns_what_it_undoes_unless_dropped(world: SimulatedWorld, chain: SimulatedChain) -> None:
    first, second = Purse(world, 1), Purse(world, 2)
    kept = chain.pay(first.script, 50_000)
    chain.mine()
    dropped = chain.pay(second.script, 50_000)
    chain.mine()
    height = chain.height
    chain.reorg(2, drop=(dropped,))
    assert chain.height == height + 1
    assert [item.tx_hash for item in chain.history(first.script)] == [kept]
    assert chain.history(second.script) == []
