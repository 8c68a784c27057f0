"""Bonds: what one is worth, how long it counts, and when it is refused (protocol section 4.6). Times in seconds.

A bond locked until T counts until T - expiry, and its owner gets it back from T on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from twinlock.chain.terms import BondTerms
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import (
    BOND_EXPIRY_S,
    BOND_PENDING_BUFFER_S,
    BOND_VERSION,
    MAX_BOND_LIFE_S,
    PREPAID_MIN_LIFE_S,
)


class CountedBond(Protocol):
    """What the tier needs to know of a bond."""

    @property
    def lock_time(self) -> int:
        """When its owner may spend it, s."""
        ...

    @property
    def strength(self) -> int:
        """Tiers that it gives."""
        ...


class BondOffer(msgspec.Struct, frozen=True):
    """What a server asks of a bond: atoms per tier, and seconds before the lock time at which it stops counting."""

    amount: int
    expiry_s: int


def bond_expiry(network: str) -> int:
    """Seconds before its lock time at which a bond stops counting; every public test network is alike."""
    return BOND_EXPIRY_S.get(network, BOND_EXPIRY_S["testnet"])


def strength(amount: int, per_tier: int) -> int:
    """Tiers that an amount buys."""
    return amount // per_tier


def counts(lock_time: int, now_s: int, expiry_s: int) -> bool:
    """Whether a bond with this lock time counts now."""
    return lock_time >= now_s + expiry_s


def bonded_tier(bonds: Iterable[CountedBond], now_s: int, expiry_s: int) -> int:
    """The tier of all bonds that count."""
    return sum(bond.strength for bond in bonds if counts(bond.lock_time, now_s, expiry_s))


def new_lock_time(now_s: int, network: str) -> int:
    """The lock time a client gives a new bond: long enough for two terms and its own delays."""
    buffer = BOND_PENDING_BUFFER_S.get(network, BOND_PENDING_BUFFER_S["testnet"])
    return now_s + min(2 * (buffer + bond_expiry(network)) + 3 * buffer, MAX_BOND_LIFE_S)


def check_bond(terms: BondTerms, account_id: bytes, offer: BondOffer, now_s: int) -> int:
    """The strength of a bond as its transaction states it. Raises `RpcError` with code 66."""
    if terms.version != BOND_VERSION:
        raise _refusal("version", "unknown bond version", {"version": terms.version}, "Make a version 0 bond.")
    if terms.account_id != account_id:
        raise _refusal("account", "the bond commits to another account", {}, "Commit to the account of the key.")
    if terms.amount < offer.amount:
        numbers = {"amount": terms.amount, "required": offer.amount}
        raise _refusal("amount", "the bond is too small", numbers, f"Lock at least {offer.amount} atoms.")
    if not counts(terms.lock_time, now_s, offer.expiry_s):
        required = now_s + offer.expiry_s
        numbers = {"lock_time": terms.lock_time, "required": required}
        raise _refusal("lock_time", "the bond unlocks too soon", numbers, f"Lock it until {required} or later.")
    return strength(terms.amount, offer.amount)


def check_prepaid(lock_time: int, now_s: int, expiry_s: int) -> None:
    """Refuse a prepaid code that stops counting within a day. Raises `RpcError` with code 66."""
    if lock_time - expiry_s < now_s + PREPAID_MIN_LIFE_S:
        numbers = {"lock_time": lock_time}
        raise _refusal("prepaid", "the code expires within a day", numbers, "Ask the operator for another code.")


def _refusal(reason: str, message: str, numbers: dict[str, int], fix: str) -> RpcError:
    return RpcError(ErrorCode.BOND, message, code=f"bond.{reason}", fault="user", numbers=dict(numbers), fix=fix)
