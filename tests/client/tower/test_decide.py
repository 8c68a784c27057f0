"""What a tower does, for any sight of the chains: rules that hold whatever they show."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from twinlock.chain.coins import Network
from twinlock.chain.contract import SwapContract
from twinlock.client.tower.decide import FINAL_DEPTH, Move, Sight, decide, rung
from twinlock.client.tower.packet import LegWatch, Packet

SECRET = bytes(range(32))
LOCKS = {"own": 1_700_028_800, "theirs": 1_700_072_000}


def leg(name: str) -> LegWatch:
    contract = SwapContract(sha256(SECRET).digest(), b"\1" * 20, b"\2" * 20, LOCKS[name]).serialize()
    return LegWatch("btc", bytes(36), contract, 100_000, (b"",))


def packet(*, theirs: bool = True, secret: bytes = b"") -> Packet:
    return Packet(
        network=Network.REGTEST,
        match_id=bytes(32),
        role="taker",
        revision=1,
        own=leg("own"),
        theirs=leg("theirs") if theirs else None,
        secret=secret,
    )


TIMES = st.sampled_from([LOCKS["own"] - 1, LOCKS["own"], LOCKS["own"] + 1, LOCKS["theirs"] + 1])
DEPTHS = st.sampled_from([0, 1, FINAL_DEPTH])
SIGHTS = st.one_of(
    st.builds(Sight, median_time=TIMES),
    st.builds(Sight, median_time=TIMES, unspent=st.just(True)),
    st.builds(Sight, median_time=TIMES, spent_depth=DEPTHS, ours=st.booleans(), secret=st.sampled_from([b"", SECRET])),
)
PACKETS = st.builds(packet, theirs=st.booleans(), secret=st.sampled_from([b"", SECRET]))


def test_a_refund_that_no_block_holds_is_outbid_with_a_public_secret() -> None:
    own = Sight(median_time=LOCKS["own"], spent_depth=1, secret=SECRET)
    refunded = [Sight(median_time=LOCKS["theirs"] + 1, spent_depth=depth) for depth in (0, 1)]
    assert [decide(packet(), own, theirs) for theirs in refunded] == [Move.REDEEM, Move.WAIT]


@given(PACKETS, SIGHTS, SIGHTS)
def test_it_only_does_what_can_succeed(held: Packet, own: Sight, theirs: Sight) -> None:
    other = theirs if held.theirs is not None else None
    move = decide(held, own, other)
    if move is Move.REDEEM:
        assert other is not None
        assert other.open or other.contested
        assert SECRET in (held.secret, own.secret, other.secret)
    if move is Move.REFUND:
        assert own.open
        assert own.median_time > LOCKS["own"]
        # Never both: the counterparty's coin and our own.
        assert other is None or not (other.secret and other.spent_depth is not None)
    if move is Move.DONE:
        assert not own.open or (other is not None and other.final and other.secret)


@given(PACKETS, SIGHTS, SIGHTS)
def test_it_never_waits_while_a_coin_can_be_had(held: Packet, own: Sight, theirs: Sight) -> None:
    other = theirs if held.theirs is not None else None
    move = decide(held, own, other)
    knows = SECRET in (held.secret, own.secret)
    if other is not None and other.open and knows:
        assert move is Move.REDEEM
    paid = other is not None and bool(other.secret)
    if own.open and own.median_time > LOCKS["own"] and not knows and not paid:
        assert move is Move.REFUND


def test_a_contract_that_never_came_is_forgotten_in_the_end() -> None:
    assert decide(packet(), Sight(median_time=LOCKS["own"] + 10), None) is Move.WAIT
    assert decide(packet(), Sight(median_time=LOCKS["own"] + 30 * 24 * 3600), None) is Move.DONE


def test_a_reorg_that_brings_a_contract_back_brings_the_move_back() -> None:
    late = LOCKS["own"] + 1
    assert decide(packet(), Sight(median_time=late, unspent=True), None) is Move.REFUND
    assert decide(packet(), Sight(median_time=late, spent_depth=2, ours=True), None) is Move.WAIT
    assert decide(packet(), Sight(median_time=late, unspent=True), None) is Move.REFUND
    assert decide(packet(), Sight(median_time=late, spent_depth=FINAL_DEPTH, ours=True), None) is Move.DONE


@given(st.lists(st.integers(1, 500), min_size=1, max_size=9), st.integers(0, 600), st.integers(0, 100))
def test_a_rung_always_exists_and_only_rises(rates: list[int], wanted: int, waited: int) -> None:
    ladder = tuple(sorted(rates))
    chosen = rung(ladder, wanted, waited)
    assert 0 <= chosen < len(ladder)
    assert rung(ladder, wanted, waited + 1) >= chosen
    assert rung(ladder, wanted + 1, waited) >= chosen
    if waited == 0 and ladder[-1] >= wanted:
        assert ladder[chosen] >= wanted
