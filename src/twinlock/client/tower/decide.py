"""What a tower does for a swap, read off what the chains show. Pure: the same sights give the same move."""

from __future__ import annotations

from enum import Enum

import msgspec

from twinlock.client.tower.packet import Packet, lock_time

FINAL_DEPTH = 6
"""Confirmations after which nobody reckons with a reorg any more."""

PATIENCE_S = 7 * 24 * 3600
"""Seconds after its lock time that a contract which never appeared is still waited for."""


class Move(Enum):
    """One thing to do about a packet."""

    WAIT = "look again when a chain shows something new"
    REDEEM = "take the counterparty's contract with the secret"
    REFUND = "take the own contract back"
    DONE = "all is final; the packet may go"


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain shows of one contract.

    median_time: s. unspent: funded, and nothing spends it, the mempool included. spent_depth: None while nothing spends
    it, 0 in the mempool. secret: what the spender revealed. ours: the spender is one of the packet's transactions, so
    far without a confirmation it may still be replaced by one with a higher fee.
    """

    median_time: int
    unspent: bool = False
    spent_depth: int | None = None
    secret: bytes = b""
    ours: bool = False

    @property
    def final(self) -> bool:
        """Spent for good."""
        return self.spent_depth is not None and self.spent_depth >= FINAL_DEPTH

    @property
    def open(self) -> bool:
        """Unspent, or spent by a transaction of ours that no block holds yet and that may need a higher fee."""
        return self.unspent or (self.ours and self.spent_depth == 0)

    @property
    def contested(self) -> bool:
        """Refunded by its sender in a transaction that no block holds; a redemption that pays more may replace it."""
        return self.spent_depth == 0 and not self.secret and not self.ours


def secret_of(packet: Packet, own: Sight, theirs: Sight | None) -> bytes:
    """The secret, once anything shows it; else nothing."""
    return packet.secret or own.secret or (theirs.secret if theirs is not None else b"")


def decide(packet: Packet, own: Sight, theirs: Sight | None) -> Move:
    """The move that the sights call for. theirs is None where the packet knows no contract of the counterparty."""
    paid = theirs is not None and theirs.spent_depth is not None and bool(theirs.secret)
    if theirs is not None and secret_of(packet, own, theirs):
        # The counterparty's coin first: what is refunded instead would be less than what was agreed.
        if theirs.open or theirs.contested:
            return Move.REDEEM
        if paid:
            return Move.DONE if theirs.final else Move.WAIT
    if own.open and own.median_time > lock_time(packet.own):
        return Move.REFUND
    if own.final:
        lost_or_refunded = theirs is None or not own.secret or theirs.final
        return Move.DONE if lost_or_refunded else Move.WAIT
    never = not own.unspent and own.spent_depth is None
    if never and own.median_time > lock_time(packet.own) + PATIENCE_S:
        return Move.DONE
    return Move.WAIT


def rung(rates: tuple[int, ...], wanted: int, waited_blocks: int) -> int:
    """Which transaction of a ladder to send: the cheapest that pays `wanted` (atoms per vbyte), and one more per wait.

    rates: of the ladder, rising. waited_blocks: blocks that came since the first was sent and did not hold it.

    >>> [rung((1, 2, 4, 8), 3, waited) for waited in (0, 2, 3, 6, 99)]
    [2, 2, 3, 3, 3]
    """
    start = next((i for i, rate in enumerate(rates) if rate >= wanted), len(rates) - 1)
    return min(start + waited_blocks // BLOCKS_PER_RUNG, len(rates) - 1)


BLOCKS_PER_RUNG = 3
"""Blocks that a transaction is given before the next one, with a higher fee, takes its place."""
