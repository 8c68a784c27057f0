"""The top of a chain: links, work, forks, bounds."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import electrum_vectors

from twinlock.chain.coins import coin
from twinlock.chain.header import Header
from twinlock.electrum.errors import LyingServerError
from twinlock.electrum.headers import WINDOW, HeaderChain, check_run
from twinlock.electrum.simulated_chain import SimulatedChain

REGTEST = coin("btc", "regtest")
MAINNET = coin("btc", "mainnet")


def blocks(count: int, *, above: Header | None = None, salt: int = 0) -> list[Header]:
    """Headers that link, the first one above the given header."""
    run = []
    before = above.hash if above else bytes(32)
    for number in range(count):
        run.append(Header(4, before, bytes([salt]) * 32, 1_700_000_000 + 600 * number, 0x207FFFFF, number))
        before = run[-1].hash
    return run


def test_the_genesis_blocks_of_simulated_chains_are_the_real_ones() -> None:
    for symbol in ("btc", "ltc"):
        assert SimulatedChain(coin(symbol, "regtest")).headers[0].hash_hex == coin(symbol, "regtest").genesis_hash


def test_a_chain_that_starts_at_another_genesis_is_a_lie() -> None:
    with pytest.raises(LyingServerError) as lie:
        HeaderChain(REGTEST).replace(0, blocks(3))
    assert lie.value.what == "genesis"


def test_broken_links_are_a_lie() -> None:
    run = blocks(5)
    with pytest.raises(LyingServerError) as lie:
        check_run(REGTEST, [*run[:2], *run[3:]], 100)
    assert lie.value.what == "headers"


def test_real_headers_have_work_and_bent_ones_do_not() -> None:
    vectors = electrum_vectors("headers")["mainnet"]
    first, second = (Header.parse(bytes.fromhex(vectors[name])) for name in ("h0", "h1"))
    check_run(MAINNET, [first, second], 0)
    bent = msgspec.structs.replace(second, nonce=second.nonce + 1)
    eased = msgspec.structs.replace(second, bits=0x207FFFFF)
    for wrong in (bent, eased):
        with pytest.raises(LyingServerError) as lie:
            check_run(MAINNET, [first, wrong], 0)
        assert lie.value.what == "work"
    with pytest.raises(LyingServerError, match="too easy"):
        HeaderChain(MAINNET).replace(0, [first, second])


def test_a_difficulty_that_moves_inside_a_period_is_a_lie() -> None:
    genesis = Header.parse(bytes.fromhex(electrum_vectors("headers")["mainnet"]["h0"]))
    below = msgspec.structs.replace(genesis, bits=0x1E00FFFF)
    above = msgspec.structs.replace(genesis, prev_hash=below.hash, bits=0x2000FFFF)
    coin_without_genesis = dataclasses.replace(MAINNET, genesis_hash="00" * 32)
    with pytest.raises(LyingServerError) as lie:
        check_run(coin_without_genesis, [below, above], 5)
    assert lie.value.what == "work"


@given(st.integers(1, 40), st.integers(0, 39), st.integers(1, 45))
def test_a_branch_replaces_exactly_what_is_above_the_fork(length: int, fork: int, branch: int) -> None:
    fork = min(fork, length - 1)
    chain = HeaderChain(REGTEST)
    trunk = blocks(length)
    chain.replace(1000, trunk)
    other = blocks(branch, above=trunk[fork], salt=1)
    assert chain.links(1000 + fork + 1, other[0])
    assert chain.extend(1000 + fork + 1, other) == 1000 + fork
    assert [chain.header(1000 + i) for i in range(len(chain))] == [*trunk[: fork + 1], *other]
    assert chain.height == 1000 + fork + branch


def test_a_run_that_repeats_known_headers_changes_only_what_differs() -> None:
    chain, trunk = HeaderChain(REGTEST), blocks(10)
    chain.replace(50, trunk)
    assert chain.extend(55, trunk[5:]) == 59
    assert chain.extend(58, [trunk[8]]) == 58, "a lower tip takes the rest away"
    assert chain.height == 58


def test_the_window_is_bounded_and_time_is_the_median_of_eleven() -> None:
    chain, trunk = HeaderChain(REGTEST), blocks(WINDOW + 500)
    chain.replace(1, trunk[:WINDOW])
    chain.extend(1 + WINDOW, trunk[WINDOW:])
    assert len(chain) == WINDOW
    assert (chain.base, chain.height) == (501, WINDOW + 500)
    assert chain.header(500) is None
    assert chain.hash(501) == trunk[500].hash
    assert chain.median_time() == trunk[-6].time


def test_two_chains_know_where_they_parted_and_who_has_more_above() -> None:
    trunk = blocks(20)
    ours, theirs, strangers = HeaderChain(REGTEST), HeaderChain(REGTEST), HeaderChain(REGTEST)
    ours.replace(10, trunk)
    theirs.replace(12, trunk[2:])
    theirs.extend(26, blocks(6, above=trunk[15], salt=1))
    strangers.replace(10, blocks(9, salt=2))
    assert ours.fork(theirs) == theirs.fork(ours) == 25
    assert (ours.work_above(25), theirs.work_above(25)) == (4, 6)
    assert ours.fork(strangers) is None
    assert ours.fork(ours) == 29
