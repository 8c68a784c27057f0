"""Second opinions: another server is asked now and then, lest the present one keep something from us.

Nothing that a server shows can prove that it shows all. But where another one proves, in blocks that we follow, an
output or its spending that the present one does not show, the present one hides it; and where another one knows a
better chain, the present one keeps us on a chain of its own.
"""

from __future__ import annotations

import structlog

from twinlock.chain.coins import Coin
from twinlock.chain.terms import CoinPoint
from twinlock.seams import Clock

from . import methods
from .client import ElectrumClient
from .connection import Connection
from .errors import ElectrumError, LyingServerError
from .headers import HeaderChain
from .histories import Histories
from .outputs import output_status, proven_status
from .sync import HeaderSync
from .transport import Endpoint

log = structlog.get_logger(__name__)

OPINION_S = 600.0
"""Seconds between looks at another server's chain."""

CONFIRM_S = 60.0
"""Seconds that the present server has for coming to a better chain that another one shows: it may just be slower."""

DOUBTS_MAX = 1000
"""Outputs that are asked about at a time."""


class Opinions:
    """Blames the present server for what another one disproves. pace: seconds between two looks."""

    def __init__(
        self, coin: Coin, client: ElectrumClient, headers: HeaderSync, histories: Histories, clock: Clock, pace: float
    ) -> None:
        self._coin = coin
        self._client = client
        self._headers = headers
        self._histories = histories
        self._clock = clock
        self._pace = pace
        self._doubts: dict[CoinPoint, tuple[bytes, bool]] = {}

    def doubt(self, point: CoinPoint, script: bytes, *, shown: bool) -> None:
        """The next look asks about this output: the present server does not show it, or (shown) that it is spent."""
        if len(self._doubts) < DOUBTS_MAX:
            self._doubts[point] = script, shown

    async def run(self) -> None:
        """Until cancelled."""
        judged: Endpoint | None = None
        missed: HeaderChain | None = None
        while True:
            await self._clock.sleep(self._pace if missed is None else min(CONFIRM_S, self._pace))
            if judged != self._client.server:
                judged, missed = self._client.server, None  # who has only just come has had no time to catch up
            try:
                async with self._client.another() as other:
                    theirs = await self._chain_of(other)
                    lie = await self._hidden(other)
            except ElectrumError:
                continue  # no opinion is no reason to turn away
            except Exception:  # a defect of ours must not end what others rely on
                log.exception("comparing servers failed by a defect", coin=self._coin.symbol)
                continue
            if lie is None and missed is not None and self._better(missed):
                lie = LyingServerError("work", "another server knows a better chain")
            if lie is not None and judged == self._client.server:  # else another one has taken its place meanwhile
                await self._client.blame(lie)
            missed = theirs if lie is None and self._better(theirs) else None

    async def _chain_of(self, other: Connection) -> HeaderChain:
        theirs = HeaderSync(self._coin)
        await theirs.follow(other, await other.call(methods.HEADERS_SUBSCRIBE))
        return theirs.chain

    def _better(self, theirs: HeaderChain) -> bool:
        ours = self._headers.chain
        fork = ours.fork(theirs)
        floor = -1 if fork is None else fork
        return theirs.work_above(floor) > ours.work_above(floor)

    async def _hidden(self, other: Connection) -> LyingServerError | None:
        doubts, self._doubts = self._doubts, {}
        for point, (script, shown) in doubts.items():
            theirs = await proven_status(self._histories, other, point, script)
            if theirs is None or (shown and theirs.spender is None):
                continue
            try:
                # Asked after the other one, so that it cannot be the slower one only.
                ours = await output_status(self._histories, self._client, point, script)
            except LyingServerError as lie:
                return lie
            if ours is None or (ours.spender is None and theirs.spender is not None):
                what = "an output" if ours is None else "the spending of an output"
                return LyingServerError("history", f"another server proves {what} that this one hides: {point}")
        return None
