"""Is a contract as agreed? The table `RULES`, for the counterparty's audit and the server's (protocol 7.3, 7.8).

Value and transaction are read by the chain's family (`audit_contract`); here the terms are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from twinlock.chain.terms import ContractAudit
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.swap.state import Party, Swap


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on a chain, with what only the auditor knows.

    fee_rate: floor(fee / size) of the funding transaction. confirmations: its depth; one waives the fee rule.
    seen_before: its coin, contract or (maker) secret hash serves another active match.
    """

    audit: ContractAudit
    confirmations: int = 0
    fee_rate: int = 0
    seen_before: bool = False


class Case(NamedTuple):
    """A finding about one leg of a match. strict: the server's audit, which wants the exact value."""

    swap: Swap
    leg: Party
    finding: Finding
    strict: bool


class Rule(NamedTuple):
    """A row: the stable reason, whether it holds, and the numbers that show it."""

    reason: str
    holds: Callable[[Case], bool]
    numbers: Callable[[Case], dict[str, int | str]]
    message: str


def _recipient(case: Case) -> str:
    return case.swap.addresses[case.leg.other]


def _pays_enough(case: Case) -> bool:
    value, agreed = case.finding.audit.value, case.swap.terms.amounts[case.leg]
    return value == agreed if case.strict else value >= agreed


def _shares_the_hash(case: Case) -> bool:
    return case.leg is Party.MAKER or case.finding.audit.terms.secret_hash == case.swap.secret_hash


def _pays_its_fee(case: Case) -> bool:
    waived = not case.strict or case.finding.confirmations > 0
    return waived or case.finding.fee_rate >= case.swap.terms.fee_rates[case.leg]


RULES: Final = (
    Rule(
        "fee_rate",
        _pays_its_fee,
        lambda case: {"fee_rate": case.finding.fee_rate, "required": case.swap.terms.fee_rates[case.leg]},
        "the contract's transaction pays too low a fee",
    ),
    Rule(
        "recipient",
        # Addresses are compared as text, in their canonical spelling.
        lambda case: bool(_recipient(case)) and case.finding.audit.terms.recipient == _recipient(case),
        lambda case: {"recipient": case.finding.audit.terms.recipient, "required": _recipient(case)},
        "the contract does not pay the counterparty's address of this match",
    ),
    Rule(
        "reused",
        lambda case: not case.finding.seen_before,
        lambda _: {},
        "the coin, the contract or the secret hash serves another match",
    ),
    Rule(
        "value",
        _pays_enough,
        lambda case: {"value": case.finding.audit.value, "required": case.swap.terms.amounts[case.leg]},
        "the contract does not hold the agreed amount",
    ),
    Rule("secret_hash", _shares_the_hash, lambda _: {}, "the contract has another secret hash than the maker's"),
    Rule(
        "lock_time",
        lambda case: case.finding.audit.terms.lock_time >= case.swap.terms.locks[case.leg],
        lambda case: {
            "lock_time": case.finding.audit.terms.lock_time,
            "required": case.swap.terms.locks[case.leg],
        },
        "the contract unlocks too soon",
    ),
)


def check_contract(swap: Swap, leg: Party, finding: Finding, *, strict: bool) -> None:
    """Refuse a contract that is not as agreed. strict: as the server checks; otherwise as a counterparty does.

    Raises `RpcError` with code 25, `contract.<reason>` and the numbers.
    """
    case = Case(swap, leg, finding, strict)
    for rule in RULES:
        if not rule.holds(case):
            raise RpcError(
                ErrorCode.CONTRACT,
                rule.message,
                code=f"contract.{rule.reason}",
                numbers=rule.numbers(case),
                fix="Make the contract exactly as the match and the counterparty's address say.",
            )
