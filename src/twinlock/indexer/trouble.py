"""Trouble: what keeps the indexer from its work just now. The operator sees it wherever he looks, until it is over.

What is served stays right meanwhile: it is the index as it was before.
"""

from __future__ import annotations

import errno

import msgspec
import structlog

from twinlock.errors import TwinlockError
from twinlock.seams import Clock

log = structlog.get_logger("indexer.trouble")

DISK, UNEXPECTED = "indexer.disk", "indexer.unexpected"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Trouble(msgspec.Struct, frozen=True):
    """code: stable, for programs. since: seconds of the clock that only goes forward.

    grave: what wallets are served gets old by it.
    """

    code: str
    reason: str
    fix: str
    since: float
    grave: bool


def _of(error: Exception, since: float, grave: bool) -> Trouble:
    if isinstance(error, TwinlockError):
        return Trouble(error.code, str(error), error.fix, since, grave)
    if isinstance(error, OSError):
        fix = "free some space" if error.errno in _FULL else "look at the disk"
        return Trouble(DISK, f"the disk refuses: {error}", fix, since, grave)
    return Trouble(UNEXPECTED, f"{type(error).__name__}: {error}", "report this, with the log", since, grave)


class Troubles:
    """One at most for each kind of work, `following` the node or `upkeep` of the index. Each is logged once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now: dict[str, Trouble] = {}

    def tell(self, work: str, error: Exception, grave: bool = True) -> None:
        """Something went wrong, and is tried again."""
        trouble, known = _of(error, self._clock.monotonic(), grave), self._now.get(work)
        if known is not None and (known.code, known.reason) == (trouble.code, trouble.reason):
            return
        self._now[work] = trouble
        told = {"work": work, "code": trouble.code, "reason": trouble.reason, "fix": trouble.fix}
        if trouble.code == UNEXPECTED:
            log.error("this should not happen; it is tried again", **told, exc_info=error)
        else:
            log.warning("it is tried again", **told)

    def over(self, work: str) -> None:
        """The work went well."""
        trouble = self._now.pop(work, None)
        if trouble is not None:
            seconds = round(self._clock.monotonic() - trouble.since, 1)
            log.info("the trouble is over", work=work, code=trouble.code, seconds=seconds)

    @property
    def now(self) -> list[Trouble]:
        """All that there is."""
        return list(self._now.values())

    @property
    def grave(self) -> bool:
        """Whether what is served gets old."""
        return any(trouble.grave for trouble in self._now.values())

    @property
    def text(self) -> str:
        """The same for people; empty when all is well."""
        return "; ".join(trouble.reason for trouble in self._now.values())
