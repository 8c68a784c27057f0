"""The referee's deadlines and faults, what it relays, and what an audit refuses."""

from __future__ import annotations

import msgspec
import pytest
from tests.protocol.swap_facts import (
    ACKED,
    ADDRESSES,
    DEADLINE,
    MAKER,
    MAKER_HEARD,
    MAKER_LOCK,
    NOW,
    TAKER,
    TAKER_HEARD,
    TAKER_LOCK,
    TERMS,
    after,
    deep,
)
from tests.protocol.swap_world import DEPTH, SECRET, SECRET_HASH

from twinlock.chain.terms import CoinPoint, ContractAudit, ContractTerms
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.reputation import Outcome
from twinlock.protocol.swap import (
    Duty,
    Event,
    MatchStatus,
    Party,
    Swap,
    apply,
    deadline,
    judge,
    referee_duties,
)
from twinlock.protocol.swap import events as ev
from twinlock.protocol.swap.audit import Finding, check_contract

# The referee ---------------------------------------------------------------------------------------------

AS_REFEREE = (*ADDRESSES, *MAKER_HEARD, deep(MAKER), *TAKER_HEARD, deep(TAKER, NOW + 20))
REDEEMED = ev.RedeemAccepted(TAKER, b"redeem T", SECRET, NOW + 30)


@pytest.mark.parametrize(
    ("events", "since", "at_fault", "outcome"),
    [
        ((), NOW, MAKER, Outcome.NO_SWAP_AS_MAKER),
        ((ADDRESSES[0],), NOW, TAKER, Outcome.NO_ADDRESS_AS_TAKER),
        ((ADDRESSES[1],), NOW, MAKER, Outcome.NO_SWAP_AS_MAKER),
        (ADDRESSES, NOW + 5, MAKER, Outcome.NO_SWAP_AS_MAKER),
        ((*ADDRESSES, *MAKER_HEARD, deep(MAKER)), NOW + 10, TAKER, Outcome.NO_SWAP_AS_TAKER),
        (AS_REFEREE, NOW + 20, MAKER, Outcome.NO_REDEEM_AS_MAKER),
        ((*AS_REFEREE, REDEEMED), NOW + 30, TAKER, Outcome.NO_REDEEM_AS_TAKER),
    ],
)
def test_the_referee_blames_whoever_could_act(
    events: tuple[Event, ...], since: int, at_fault: Party, outcome: Outcome
) -> None:
    swap = after(*events)
    assert deadline(swap) == since + DEADLINE
    assert judge(swap, since + DEADLINE) is None
    judgement = judge(swap, since + DEADLINE + 1)
    assert judgement == (at_fault, outcome)
    assert Duty.REVOKE in {task.duty for task in referee_duties(swap, since + DEADLINE + 1)}
    assert judge(apply(swap, ev.Revoked()), since + DEADLINE + 1) is None


def test_nobody_is_blamed_for_a_contract_that_expires_before_it_is_deep() -> None:
    swap = after(*ADDRESSES, *MAKER_HEARD, ev.Seen(MAKER, 0, NOW))
    assert deadline(swap) == TAKER_LOCK * 1000
    assert judge(swap, TAKER_LOCK * 1000 - 1) is None
    assert judge(swap, TAKER_LOCK * 1000) == (None, None)


def test_a_reorg_stops_the_clock_of_the_one_who_waits_for_depth() -> None:
    swap = after(*AS_REFEREE, ev.Seen(TAKER, DEPTH - 1, NOW + 40))
    assert judge(swap, NOW + 20 + DEADLINE + 1) is None
    assert judge(apply(swap, deep(TAKER, NOW + 50)), NOW + 50 + DEADLINE + 1) is not None


def test_a_complete_match_is_never_failed() -> None:
    swap = after(*AS_REFEREE, REDEEMED, ev.RedeemAccepted(MAKER, b"redeem M", SECRET, NOW + 31))
    assert swap.status is MatchStatus.MATCH_COMPLETE
    assert deadline(swap) is None
    assert judge(swap, NOW * 2) is None


def test_the_referee_relays_until_it_is_acknowledged() -> None:
    def relays(swap: Swap) -> set[tuple[Duty, Party | None]]:
        return {(duty, leg) for duty, leg in referee_duties(swap, NOW) if duty is not Duty.WATCH}

    assert relays(after(ADDRESSES[0])) == set()
    assert relays(after(*ADDRESSES)) == {(Duty.RELAY_ADDRESSES, None)}
    assert relays(after(*ADDRESSES, MAKER_HEARD[0])) == {(Duty.RELAY_ADDRESSES, None), (Duty.AUDIT, MAKER)}
    assert relays(after(*ADDRESSES, *MAKER_HEARD)) == {(Duty.RELAY_CONTRACT, MAKER)}
    assert relays(after(*AS_REFEREE, *ACKED, REDEEMED)) == {(Duty.RELAY_REDEEM, TAKER)}
    assert relays(after(*AS_REFEREE, *ACKED, REDEEMED, ev.Acknowledged(TAKER, ev.Step.REDEEM))) == set()


# Audits --------------------------------------------------------------------------------------------------

SOUND = ContractAudit(
    ContractTerms("taker's", "sender", SECRET_HASH, MAKER_LOCK), TERMS.amounts[MAKER], CoinPoint(bytes(32), 0)
)


def _audit(leg: Party = MAKER, *, strict: bool = True, value: int = 0, fee: int = 0, **changes: object) -> str:
    swap = msgspec.structs.replace(
        after(*ADDRESSES, *(MAKER_HEARD if leg is TAKER else ())),
        terms=msgspec.structs.replace(TERMS, fee_rates=(10, 10)),
    )
    recipient = "taker's" if leg is MAKER else "maker's"
    contract = ContractTerms(recipient, "sender", SECRET_HASH, TERMS.locks[leg])
    seen_before, confirmations = bool(changes.pop("seen_before", False)), int(str(changes.pop("confirmations", 0)))
    audit = ContractAudit(
        msgspec.structs.replace(contract, **changes), TERMS.amounts[leg] + value, CoinPoint(bytes(32), 0)
    )
    finding = Finding(audit=audit, fee_rate=10 + fee, confirmations=confirmations, seen_before=seen_before)
    try:
        check_contract(swap, leg, finding, strict=strict)
    except RpcError as error:
        assert error.rpc_code is ErrorCode.CONTRACT
        return error.code
    return "sound"


def test_audits_name_what_is_wrong() -> None:
    assert _audit() == _audit(TAKER) == _audit(strict=False) == "sound"
    assert _audit(recipient="mallory's") == "contract.recipient"
    assert _audit(value=-1) == _audit(value=-1, strict=False) == _audit(value=1) == "contract.value"
    assert _audit(value=1, strict=False) == "sound"
    assert _audit(lock_time=MAKER_LOCK - 1) == "contract.lock_time"
    assert _audit(lock_time=MAKER_LOCK + 1) == "sound"
    assert _audit(TAKER, secret_hash=bytes(32)) == "contract.secret_hash"
    assert _audit(seen_before=True) == "contract.reused"
    assert _audit(fee=-1) == "contract.fee_rate"
    assert _audit(fee=-1, confirmations=1) == _audit(fee=-1, strict=False) == "sound"


def test_a_contract_to_an_unknown_address_is_refused() -> None:
    with pytest.raises(RpcError):
        check_contract(after(), MAKER, Finding(audit=SOUND), strict=False)
