"""The settlement's tables: stories for every duty, and what a restart owes."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.support import vector
from tests.protocol.swap_facts import (
    ACKED,
    ADDRESSES,
    BOTH_OUT_AS_MAKER,
    BOTH_OUT_AS_TAKER,
    DEADLINE,
    MAKER,
    MAKER_HEARD,
    MAKER_LOCK,
    MAKER_MADE,
    NOW,
    TAKER,
    TAKER_HEARD,
    TAKER_LOCK,
    TAKER_MADE,
    TERMS,
    after,
    deep,
    owed,
)
from tests.protocol.swap_world import DEPTH, HOUR, SECRET, SECRET_HASH

from twinlock.protocol.constants import CLOCK_TOLERANCE_MS, LOCK_TIME_MAKER_MS, LOCK_TIME_TAKER_MS
from twinlock.protocol.swap import (
    Duty,
    Ending,
    Event,
    Leg,
    LegStatus,
    MatchStatus,
    Party,
    Swap,
    Verdict,
    act_by,
    apply,
    duties,
    ending,
    judge,
    referee_duties,
)
from twinlock.protocol.swap import events as ev
from twinlock.protocol.swap.state import lock_time
from twinlock.protocol.swap.transitions import LEG, Sighting


def test_the_course_that_everyone_wants_as_the_maker() -> None:
    story: list[tuple[Iterable[object], set[Duty]]] = [
        ((), set()),
        (ADDRESSES, {Duty.MAKE_CONTRACT}),
        (MAKER_MADE, {Duty.BROADCAST_CONTRACT}),
        ((ev.Seen(MAKER, 0, NOW),), {Duty.REPORT_CONTRACT}),
        ((ev.Acknowledged(MAKER, ev.Step.CONTRACT), deep(MAKER)), set()),
        ((ev.Announced(TAKER, b"coin T", b"contract T"),), {Duty.AUDIT}),
        ((ev.Audited(TAKER, b"coin T", Verdict.SOUND), ev.Seen(TAKER, 1, NOW)), set()),
        ((deep(TAKER),), {Duty.REDEEM}),
        ((ev.RedeemSent(TAKER), ev.Spent(TAKER, 0, SECRET)), {Duty.REPORT_REDEEM}),
        ((ev.Acknowledged(TAKER, ev.Step.REDEEM),), set()),
        ((ev.Spent(TAKER, DEPTH, SECRET),), set()),
    ]
    swap = Swap(terms=TERMS)
    for events, expected in story:
        for event in events:
            swap = apply(swap, event)
        assert owed(swap, MAKER) == expected
    assert ending(swap, MAKER, NOW) is Ending.SWAPPED
    assert swap.status is MatchStatus.MAKER_REDEEMED
    assert not duties(swap, MAKER, NOW)


def test_the_course_that_everyone_wants_as_the_taker() -> None:
    story: list[tuple[Iterable[object], set[Duty]]] = [
        (ADDRESSES, set()),
        (MAKER_HEARD, {Duty.REBROADCAST_THEIRS}),
        ((ev.Seen(MAKER, DEPTH - 1, NOW),), set()),
        ((deep(MAKER),), {Duty.MAKE_CONTRACT}),
        (TAKER_MADE, {Duty.BROADCAST_CONTRACT}),
        ((deep(TAKER),), {Duty.REPORT_CONTRACT}),
        ((ev.Acknowledged(TAKER, ev.Step.CONTRACT),), set()),
        ((ev.Spent(TAKER),), {Duty.SEARCH}),
        ((ev.Spent(TAKER, 0, SECRET),), {Duty.REDEEM}),
        ((ev.RedeemSent(MAKER), ev.Spent(MAKER, 1, SECRET)), {Duty.REPORT_REDEEM}),
        ((ev.Spent(MAKER, DEPTH, SECRET), ev.Acknowledged(MAKER, ev.Step.REDEEM)), set()),
    ]
    swap = Swap(terms=TERMS)
    for events, expected in story:
        for event in events:
            swap = apply(swap, event)
        assert owed(swap, TAKER) == expected
    assert ending(swap, TAKER, NOW) is Ending.SWAPPED
    assert swap.status is MatchStatus.MATCH_COMPLETE


def test_a_taker_trusts_nothing_shallow_refused_or_spent() -> None:
    base = (*ADDRESSES, ev.Announced(MAKER, b"coin M", b"contract M"), deep(MAKER))
    assert owed(after(*base), TAKER) == {Duty.AUDIT}
    assert owed(after(*base, ev.Audited(MAKER, b"coin M", Verdict.REFUSED)), TAKER) == set()
    assert owed(after(*ADDRESSES, *MAKER_HEARD, ev.Spent(MAKER, 0, b"", True)), TAKER) == set()
    assert owed(after(*ADDRESSES, *MAKER_HEARD, deep(MAKER), ev.Vanished(MAKER, doomed=True)), TAKER) == set()


@pytest.mark.parametrize("stop", [ev.Revoked(), ev.ServerLost()])
def test_nobody_starts_without_a_server_that_referees(stop: Event) -> None:
    assert owed(after(*ADDRESSES, stop), MAKER) == set()
    assert owed(after(*ADDRESSES, *MAKER_HEARD, deep(MAKER), stop), TAKER) == set()
    assert ending(after(*ADDRESSES, stop), MAKER, NOW) is Ending.VOID


def test_nobody_starts_what_could_not_end_in_time() -> None:
    late = (TAKER_LOCK - TERMS.margin_s) * 1000
    swap = after(*ADDRESSES, *MAKER_HEARD, deep(MAKER))
    assert owed(swap, TAKER, late - 1000) == {Duty.MAKE_CONTRACT}
    assert owed(swap, TAKER, late) == set()
    assert owed(apply(swap, ev.ChainTime(TAKER, TAKER_LOCK)), TAKER) == set(), "the chain's clock counts too"


def test_a_server_that_dies_after_both_contracts_changes_nothing_on_chain() -> None:
    assert owed(after(*BOTH_OUT_AS_MAKER, ev.ServerLost()), MAKER) == {Duty.REDEEM}
    assert owed(after(*BOTH_OUT_AS_MAKER, ev.Revoked()), MAKER) == {Duty.REDEEM}
    assert owed(after(*BOTH_OUT_AS_TAKER, ev.Revoked(), ev.Spent(TAKER, 0, SECRET)), TAKER) == {Duty.REDEEM}


def test_a_maker_does_not_reveal_the_secret_when_the_taker_could_soon_refund() -> None:
    swap = after(*BOTH_OUT_AS_MAKER, *ACKED)
    late = (TAKER_LOCK - TERMS.margin_s) * 1000
    assert owed(swap, MAKER, late - 1000) == {Duty.REDEEM}
    assert owed(swap, MAKER, late) == set()
    assert owed(after(*BOTH_OUT_AS_MAKER, *ACKED, ev.ChainTime(TAKER, TAKER_LOCK)), MAKER) == set()


def test_a_maker_whose_secret_is_out_never_stops_claiming() -> None:
    revealed = (*BOTH_OUT_AS_MAKER, *ACKED, ev.RedeemSent(TAKER))
    assert owed(after(*revealed), MAKER, (TAKER_LOCK + HOUR) * 1000) == {Duty.REDEEM}
    taken = after(*BOTH_OUT_AS_MAKER, *ACKED, ev.Spent(MAKER, 0, SECRET))
    assert owed(taken, MAKER, (TAKER_LOCK + HOUR) * 1000) == {Duty.REDEEM}
    shallow = after(*revealed, ev.Seen(TAKER, 0, NOW))
    assert owed(shallow, MAKER) == {Duty.REDEEM}


def test_a_maker_does_not_reveal_the_secret_for_a_shallow_or_refused_contract() -> None:
    assert Duty.REDEEM not in owed(after(*BOTH_OUT_AS_MAKER, ev.Seen(TAKER, DEPTH - 1, NOW)), MAKER)
    refused = (
        *(*ADDRESSES, *MAKER_MADE, deep(MAKER)),
        ev.Announced(TAKER, b"coin T", b"contract T"),
        ev.Audited(TAKER, b"coin T", Verdict.REFUSED),
        deep(TAKER),
    )
    assert Duty.REDEEM not in owed(after(*refused), MAKER)


def test_only_the_chains_own_clock_makes_a_refund_due_and_only_past_the_lock() -> None:
    for party, out in ((MAKER, BOTH_OUT_AS_MAKER), (TAKER, BOTH_OUT_AS_TAKER)):
        lock = TERMS.locks[party]
        swap = after(*out, *ACKED)
        wall = (MAKER_LOCK + 10 * HOUR) * 1000
        assert Duty.REFUND not in owed(swap, party, wall)
        assert Duty.REFUND not in owed(apply(swap, ev.ChainTime(party, lock)), party, wall)
        assert Duty.REFUND not in owed(apply(swap, ev.ChainTime(party.other, lock + 1)), party, wall)
        assert Duty.REFUND in owed(apply(swap, ev.ChainTime(party, lock + 1)), party, wall)


def test_nobody_refunds_after_claiming_the_others_coin() -> None:
    claimed = after(*BOTH_OUT_AS_MAKER, ev.Spent(TAKER, 1, SECRET), ev.ChainTime(MAKER, MAKER_LOCK + 1))
    assert Duty.REFUND not in owed(claimed, MAKER)
    lost_race = apply(claimed, ev.Spent(TAKER, 1, b"", True))
    assert Duty.REFUND in owed(lost_race, MAKER), "the taker refunded after all; the maker takes its own back"


def test_a_taker_that_can_claim_does_not_refund_too() -> None:
    swap = after(*BOTH_OUT_AS_TAKER, *ACKED, ev.ChainTime(TAKER, TAKER_LOCK + 1), ev.SecretLearned(SECRET))
    assert owed(swap, TAKER) == {Duty.REDEEM}
    assert Duty.REFUND in owed(apply(swap, ev.Spent(MAKER, 1, b"", True)), TAKER)


def test_a_refund_that_no_block_holds_is_outbid_by_whoever_has_nothing_left_to_hide() -> None:
    refunded = ev.Spent(TAKER, 0, b"", True)
    revealed = (*BOTH_OUT_AS_MAKER, *ACKED, ev.RedeemSent(TAKER))
    assert owed(after(*revealed, refunded), MAKER) == {Duty.REDEEM}
    assert Duty.REDEEM not in owed(after(*revealed, ev.Spent(TAKER, 1, b"", True)), MAKER)
    assert Duty.REDEEM not in owed(after(*BOTH_OUT_AS_MAKER, *ACKED, refunded), MAKER), "the secret is still ours"
    taker = after(*BOTH_OUT_AS_TAKER, *ACKED, ev.Spent(TAKER, 1, SECRET), ev.Spent(MAKER, 0, b"", True))
    assert Duty.REDEEM in owed(taker, TAKER)


def test_a_redemption_that_was_replaced_is_not_named_any_more() -> None:
    sent = after(*BOTH_OUT_AS_MAKER, ev.RedeemSent(TAKER, b"first"), ev.Spent(TAKER, 0, SECRET, coin_id=b"first"))
    assert sent.legs[TAKER].redeem_coin_id == b"first"
    assert apply(sent, ev.Spent(TAKER, 0, SECRET, coin_id=b"second")).legs[TAKER].redeem_coin_id == b"second"


def test_a_refund_ends_when_it_is_deep() -> None:
    for party, out in ((MAKER, BOTH_OUT_AS_MAKER), (TAKER, BOTH_OUT_AS_TAKER)):
        assert ending(after(*out, ev.Spent(party, DEPTH - 1, b"", True)), party, NOW) is None
        assert ending(after(*out, ev.Spent(party, DEPTH, b"", True)), party, NOW) is Ending.REFUNDED


def test_a_contract_that_the_chain_lost_is_broadcast_again() -> None:
    gone = after(*BOTH_OUT_AS_TAKER, ev.Vanished(TAKER))
    assert owed(gone, TAKER) == {Duty.BROADCAST_CONTRACT}
    assert owed(apply(gone, ev.Vanished(MAKER)), TAKER) == {Duty.REBROADCAST_THEIRS}
    assert owed(apply(gone, ev.Vanished(MAKER, doomed=True)), TAKER) == set()
    assert owed(after(*BOTH_OUT_AS_MAKER, ev.Vanished(MAKER)), MAKER) == {Duty.BROADCAST_CONTRACT, Duty.REDEEM}


def test_a_taker_does_not_broadcast_what_became_unsafe_after_it_was_signed() -> None:
    signed = after(*ADDRESSES, *MAKER_HEARD, deep(MAKER), *TAKER_MADE)
    assert owed(signed, TAKER) == {Duty.BROADCAST_CONTRACT}
    assert owed(apply(signed, ev.Seen(MAKER, DEPTH - 1, NOW)), TAKER) == set()
    assert owed(apply(signed, ev.Spent(MAKER, 0, b"", True)), TAKER) == set()
    late = (TAKER_LOCK - TERMS.margin_s) * 1000
    assert owed(signed, TAKER, late) == {Duty.RELEASE_COINS}
    assert owed(apply(signed, ev.Vanished(TAKER)), TAKER, late) == {Duty.RELEASE_COINS}


def test_a_contract_that_may_never_have_been_sent_waits_for_the_server() -> None:
    """It was stored when the power went; now its chain shows nothing, and nobody would hear of it."""
    signed = after(*ADDRESSES, *MAKER_HEARD, deep(MAKER), *TAKER_MADE)
    alone = apply(signed, ev.ServerLost())
    assert owed(alone, TAKER) == set()
    assert owed(apply(alone, ev.ServerFound()), TAKER) == {Duty.BROADCAST_CONTRACT}
    assert owed(alone, TAKER, (TAKER_LOCK - TERMS.margin_s) * 1000) == {Duty.RELEASE_COINS}
    shown = apply(alone, ev.Seen(TAKER, 0, NOW))
    assert owed(apply(shown, ev.Vanished(TAKER)), TAKER) == {Duty.BROADCAST_CONTRACT}


def test_whoever_has_the_others_coin_lets_the_other_have_its_own() -> None:
    swap = after(*BOTH_OUT_AS_MAKER, ev.Spent(TAKER, DEPTH, SECRET), ev.Vanished(MAKER))
    assert Duty.BROADCAST_CONTRACT in owed(swap, MAKER, (MAKER_LOCK + HOUR) * 1000)
    shallow = apply(swap, ev.Spent(TAKER, DEPTH - 1, SECRET))
    assert Duty.BROADCAST_CONTRACT not in owed(shallow, MAKER, (MAKER_LOCK + HOUR) * 1000)


def test_coins_of_a_contract_signed_in_vain_are_released() -> None:
    swap = after(*ADDRESSES, *MAKER_MADE, ev.Revoked())
    assert owed(swap, MAKER) == {Duty.RELEASE_COINS}
    assert ending(swap, MAKER, NOW) is None, "a crash may have hidden its broadcast"
    assert ending(apply(swap, ev.Vanished(MAKER, doomed=True)), MAKER, NOW) is Ending.VOID
    assert owed(after(*ADDRESSES, *MAKER_MADE, ev.Revoked(), deep(MAKER)), MAKER) == set()


def test_a_trader_gives_up_when_the_address_never_comes() -> None:
    swap = after(ADDRESSES[0])
    last = NOW + 3 * DEADLINE + CLOCK_TOLERANCE_MS
    assert owed(swap, MAKER, last) == set()
    assert owed(swap, MAKER, last + 1) == {Duty.GIVE_UP}


def test_a_second_different_address_is_refused() -> None:
    swap = after(*ADDRESSES, ev.AddressKnown(TAKER, "another", NOW))
    assert swap.addresses == ("maker's", "taker's")


def test_a_wrong_secret_is_never_believed_and_never_hides_the_right_one() -> None:
    swap = after(ev.SecretLearned(b"short"), ev.SecretLearned(bytes(32)), *MAKER_HEARD)
    assert swap.secret is None
    assert apply(swap, ev.SecretLearned(SECRET)).secret == SECRET
    assert after(ev.SecretLearned(SECRET), *MAKER_HEARD).secret == SECRET


def test_a_refused_contract_may_be_replaced_and_a_sound_one_may_not() -> None:
    again = ev.Announced(MAKER, b"coin 2", b"contract 2")
    refused = after(ev.Announced(MAKER, b"coin 1", b"contract 1"), ev.Audited(MAKER, b"coin 1", Verdict.REFUSED))
    assert apply(refused, again).legs[MAKER] == Leg(
        coin_id=b"coin 2", contract=b"contract 2", status=LegStatus.ANNOUNCED
    )
    assert apply(after(*MAKER_HEARD), again) == after(*MAKER_HEARD)


def test_both_sides_of_a_self_trade_do_what_they_would_do_for_others() -> None:
    swap = msgspec.structs.replace(after(*ADDRESSES), terms=msgspec.structs.replace(TERMS, self_trade=True))
    assert owed(swap, MAKER) == {Duty.MAKE_CONTRACT}
    judgement = judge(swap, NOW + 5 + DEADLINE + 1)
    assert judgement is not None
    assert judgement.outcome is None


def test_the_hurry_is_the_margin_before_the_other_side_can_refund() -> None:
    assert act_by(after(*ADDRESSES), MAKER) is None
    assert act_by(after(*BOTH_OUT_AS_MAKER), MAKER) is None
    assert act_by(after(*BOTH_OUT_AS_MAKER, ev.RedeemSent(TAKER)), MAKER) == TAKER_LOCK - TERMS.margin_s
    assert act_by(after(*BOTH_OUT_AS_TAKER), TAKER) == MAKER_LOCK - TERMS.margin_s


# Facts ---------------------------------------------------------------------------------------------------


def test_lock_time_vector() -> None:
    given_, expected = vector("lock-times")
    assert lock_time(given_["tserver"], LOCK_TIME_TAKER_MS) == expected["taker"]
    assert lock_time(given_["tserver"], LOCK_TIME_MAKER_MS) == expected["maker"]


def test_the_table_of_legs_is_complete() -> None:
    assert {(status, sighting) for status, row in LEG.items() for sighting in row} == {
        (status, sighting) for status in LegStatus for sighting in Sighting
    }


@pytest.mark.parametrize("nonsense", [None, 0, "Spent", object(), b"", Leg(), {"leg": 0}])
def test_unknown_events_change_nothing(nonsense: object) -> None:
    swap = after(*BOTH_OUT_AS_TAKER)
    assert apply(swap, nonsense) is swap


PARTIES = st.sampled_from(Party)
BYTES = st.sampled_from([b"", b"coin M", b"contract M", SECRET, SECRET_HASH, bytes(32)])
TIMES = st.integers(NOW, NOW + 3 * LOCK_TIME_MAKER_MS)
EVENTS = st.one_of(
    st.builds(ev.AddressKnown, PARTIES, st.sampled_from(["", "a", "b"]), TIMES),
    st.builds(ev.ContractMade, PARTIES, BYTES, BYTES, BYTES),
    st.builds(ev.Announced, PARTIES, BYTES, BYTES),
    st.builds(ev.Audited, PARTIES, BYTES, st.sampled_from(Verdict), BYTES),
    st.builds(ev.SecretLearned, BYTES),
    st.builds(ev.RedeemSent, PARTIES, BYTES),
    st.builds(ev.RedeemAccepted, PARTIES, BYTES, BYTES, TIMES),
    st.builds(ev.Acknowledged, PARTIES, st.sampled_from(ev.Step)),
    st.builds(ev.Seen, PARTIES, st.integers(0, 4), TIMES),
    st.builds(ev.Spent, PARTIES, st.integers(0, 4), BYTES, st.booleans(), BYTES),
    st.builds(ev.Vanished, PARTIES, st.booleans()),
    st.builds(ev.ChainTime, PARTIES, st.integers(0, 2 * MAKER_LOCK)),
    st.sampled_from([ev.Revoked(), ev.ServerLost(), ev.ServerFound()]),
)


@given(st.lists(EVENTS, max_size=30), TIMES)
def test_any_events_in_any_order_leave_every_question_answerable(events: list[Event], now_ms: int) -> None:
    swap = after(*events)
    for event in events[-1:]:
        assert apply(swap, event) == swap, "a fact told twice is one fact"
    for party in Party:
        assert (ending(swap, party, now_ms) is not None) or duties(swap, party, now_ms)
        act_by(swap, party)
    referee_duties(swap, now_ms)
    stored = [msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) for event in events]
    assert after(*stored) == swap


@given(st.permutations([*ADDRESSES, ev.ChainTime(MAKER, 5), *MAKER_HEARD[:1], ev.Seen(TAKER, 1, NOW), *ACKED]))
def test_facts_from_different_sources_commute(order: list[Event]) -> None:
    swap = after(*order, MAKER_HEARD[1], *TAKER_HEARD, deep(MAKER), deep(TAKER))
    straight = after(*ADDRESSES, *ACKED, ev.ChainTime(MAKER, 5), *MAKER_HEARD, *TAKER_HEARD, deep(MAKER), deep(TAKER))
    assert msgspec.structs.replace(swap, addressed_ms=0) == msgspec.structs.replace(straight, addressed_ms=0)
