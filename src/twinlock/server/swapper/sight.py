"""Who could not be seen acting is not blamed for it: what a chain out of view does to deadlines (decision 0017)."""

from __future__ import annotations

from collections.abc import Mapping

from twinlock.protocol.swap import judge
from twinlock.protocol.swap.referee import Judgement
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend
from twinlock.server.swapper.settling import Settling


class Sight:
    """Remembers when chains were last out of view. assets: by asset ID; timeout_ms: the broadcast timeout."""

    def __init__(self, assets: Mapping[int, AssetBackend], clock: Clock, timeout_ms: int) -> None:
        self._assets = assets
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._blind: dict[int, int] = {}

    def look(self) -> None:
        """Note which chains are out of view now. Called often."""
        now = self._clock.now_ms()
        self._blind.update((number, now) for number, asset in self._assets.items() if not asset.synced)

    def judge(self, settling: Settling) -> Judgement | None:
        """The reason to fail a match now, or None.

        Whoever must swap on a chain that was out of view has the whole time again once it is back; if a contract
        expires before, nobody is at fault.
        """
        now = self._clock.now_ms()
        judgement = judge(settling.swap, now)
        if judgement is None or judgement.at_fault is None or settling.swap.addressed_ms is None:
            return judgement
        blind = self._blind.get(settling.asset(judgement.at_fault))
        if blind is None or now > blind + self._timeout_ms:
            return judgement
        expired = any(now >= lock * 1000 for lock in settling.swap.terms.locks)
        return Judgement(None, None) if expired else None
