"""When a market runs, in epochs."""

from __future__ import annotations

import msgspec

from twinlock.protocol.messages.config import MarketStatus


class Schedule(msgspec.Struct, frozen=True):
    """start_epoch: first one. final_epoch: last one before a suspension, 0 if none is scheduled or in effect.

    >>> schedule = Schedule(10)
    >>> schedule.runs(9), schedule.runs(10)
    (False, True)
    >>> schedule = schedule.suspended(12, persist=False)
    >>> schedule.runs(12), schedule.runs(13)
    (True, False)
    >>> schedule = schedule.resumed(20)
    >>> schedule.runs(19), schedule.runs(20), schedule.final_epoch
    (False, True, 0)
    """

    start_epoch: int
    final_epoch: int = 0
    persist_book: bool = True

    def runs(self, epoch: int) -> bool:
        """Whether that epoch takes orders."""
        return epoch >= self.start_epoch and not self.stopped(epoch)

    def stopped(self, epoch: int) -> bool:
        """Whether a suspension is in effect in that epoch."""
        return 0 < self.final_epoch < epoch

    def suspended(self, final_epoch: int, *, persist: bool) -> Schedule:
        """The same, but it stops after that epoch."""
        return Schedule(self.start_epoch, final_epoch, persist)

    def resumed(self, start_epoch: int) -> Schedule:
        """It runs again from that epoch on."""
        return Schedule(start_epoch)

    def status(self) -> MarketStatus:
        """As `config` shows it."""
        if not self.final_epoch:
            return MarketStatus(start_epoch=self.start_epoch)
        return MarketStatus(start_epoch=self.start_epoch, final_epoch=self.final_epoch, persist_book=self.persist_book)
