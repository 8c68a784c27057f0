"""What can happen to a match. Each event is a fact with a source; replaying a log of them rebuilds the match.

They carry tags, so a log can be stored: `msgspec.msgpack.encode` one, decode as `Event`. `at_ms` is when the fact
became known here. `leg` names the contract by the side that funds it.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

import msgspec

from twinlock.protocol.swap.state import Party, Verdict


class Step(Enum):
    """What a report was about."""

    CONTRACT = "contract"
    REDEEM = "redeem"


class _Event(msgspec.Struct, frozen=True, tag=True):
    pass


# What peers, the server and we ourselves say.


class AddressKnown(_Event, frozen=True):
    """A side named its receiving address for this match. A second, different one is ignored."""

    party: Party
    address: str
    at_ms: int


class ContractMade(_Event, frozen=True):
    """We signed and stored our own contract's transaction. It may be broadcast from now on."""

    leg: Party
    coin_id: bytes
    contract: bytes
    secret_hash: bytes


class Announced(_Event, frozen=True):
    """Somebody else reported a contract. Nothing is believed before it is audited."""

    leg: Party
    coin_id: bytes
    contract: bytes


class Audited(_Event, frozen=True):
    """The verdict on an announced contract; the maker's brings the secret hash of the match."""

    leg: Party
    coin_id: bytes
    verdict: Verdict
    secret_hash: bytes = b""


class SecretLearned(_Event, frozen=True):
    """Somebody claims to know the secret: a message, a chain, or our own derivation."""

    secret: bytes


class RedeemSent(_Event, frozen=True):
    """We broadcast a redemption of this leg. Whatever becomes of it, the secret is public now."""

    leg: Party
    coin_id: bytes = b""


class RedeemAccepted(_Event, frozen=True):
    """The referee accepted the report that this leg was redeemed."""

    leg: Party
    coin_id: bytes
    secret: bytes
    at_ms: int


class Acknowledged(_Event, frozen=True):
    """Whoever had to hear of this step on this leg has confirmed it."""

    leg: Party
    step: Step


class Revoked(_Event, frozen=True):
    """The server gave up on the match, or we did."""


class ServerLost(_Event, frozen=True):
    """The server is gone, or no longer offers the market."""


class ServerFound(_Event, frozen=True):
    """The server is back."""


# What a chain shows. Each replaces what it showed of that leg before.


class Seen(_Event, frozen=True):
    """The contract is funded and unspent, at this depth (0: mempool)."""

    leg: Party
    depth: int
    at_ms: int


class Spent(_Event, frozen=True):
    """The contract's output is spent, by a transaction at this depth.

    secret: what the spending input reveals. refund: the spender took the refund branch. Neither: not read yet.
    """

    leg: Party
    depth: int = 0
    secret: bytes = b""
    refund: bool = False
    coin_id: bytes = b""


class Vanished(_Event, frozen=True):
    """The contract is neither in a block nor in the mempool. doomed: it never can be, its inputs are spent."""

    leg: Party
    doomed: bool = False


class ChainTime(_Event, frozen=True):
    """The median time past (s) of the leg's chain."""

    leg: Party
    median_time: int


Event: TypeAlias = (
    AddressKnown
    | ContractMade
    | Announced
    | Audited
    | SecretLearned
    | RedeemSent
    | RedeemAccepted
    | Acknowledged
    | Revoked
    | ServerLost
    | ServerFound
    | Seen
    | Spent
    | Vanished
    | ChainTime
)
