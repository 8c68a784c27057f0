"""Redemptions: those that a trader reports, and those that only the chain shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import structlog

from twinlock.electrum.errors import ElectrumError, UnavailableError
from twinlock.protocol.reputation import Outcome
from twinlock.protocol.swap import MatchStatus, Party, judge
from twinlock.protocol.swap.events import RedeemAccepted
from twinlock.protocol.swap.referee import Judgement
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend
from twinlock.server.assets.backend import Redeeming
from twinlock.server.db import Database
from twinlock.server.db.accounts import Point
from twinlock.server.db.matches import change_match
from twinlock.server.swapper.endings import Endings, Verdict
from twinlock.server.swapper.relays import Relays
from twinlock.server.swapper.settling import SIDE_NAMES, Settling
from twinlock.server.users.reputation import Reputations

log = structlog.get_logger(__name__)

PORTION = 50
"""Matches that are looked at together: everybody else has a turn in between."""

REDEEMS = {MatchStatus.TAKER_SWAP_CAST: Party.MAKER, MatchStatus.MAKER_REDEEMED: Party.TAKER}
"""Whose redemption a status waits for."""


class Redemptions:
    """Stores redemptions, and asks the chains before somebody is blamed for the lack of one. assets: by asset ID."""

    def __init__(
        self,
        endings: Endings,
        relays: Relays,
        database: Database,
        reputations: Reputations,
        assets: Mapping[int, AssetBackend],
        clock: Clock,
    ) -> None:
        self._endings = endings
        self._relays = relays
        self._database = database
        self._reputations = reputations
        self._assets = assets
        self._clock = clock

    async def take(self, settling: Settling, side: Party, found: Redeeming, signature: bytes = b"") -> None:
        """Store what was checked. signature: the report's; none where only the chain told."""
        name, now = SIDE_NAMES[side], self._clock.now_ms()
        complete = side is Party.TAKER
        columns: dict[str, object] = {
            f"{name}_redeem_coin": found.coin_id,
            f"{name}_redeem_time": now,
            f"{name}_redeem_sig": signature,
            "status": int(MatchStatus.MATCH_COMPLETE if complete else MatchStatus.MAKER_REDEEMED),
            "secret": found.secret,
            "active": not complete,
        }
        points = [] if settling.swap.terms.self_trade else [self._success(settling, side, now)]
        await self._database.write(change_match(settling.match_id, **columns), *self._reputations.writes(points))
        settling.record(**columns)
        settling.learn(RedeemAccepted(side.other, found.coin_id, found.secret, now))
        self._reputations.take_effect(points)
        log.info("redemption accepted", match=settling.match_id.hex(), side=name, reported=bool(signature))
        if complete:
            log.info("match complete", match=settling.match_id.hex())
            await self._endings.retire([settling])

    @staticmethod
    def begin(due: Iterable[Settling]) -> list[Settling]:
        """Those whose time for a redemption is over. From now on no report of one is taken, until `missing` ends."""
        found = [settling for settling in due if settling.status in REDEEMS]
        for settling in found:
            settling.searching.add(REDEEMS[settling.status])
        return found

    async def missing(self, due: Sequence[Settling]) -> list[Verdict]:
        """Of the matches that `begin` gave, those to fail. The others are redeemed and go on, or wait."""
        verdicts: list[Verdict | None] = []
        blind: set[int] = set()
        for start in range(0, len(due), PORTION):
            looks = (self._look(settling, blind) for settling in due[start : start + PORTION])
            verdicts += await asyncio.gather(*looks)
        return [verdict for verdict in verdicts if verdict is not None]

    async def _look(self, settling: Settling, blind: set[int]) -> Verdict | None:
        side = REDEEMS[settling.status]
        try:
            found, asked = await self._seen(settling, side, blind)
            judgement = judge(settling.swap, self._clock.now_ms())
            if judgement is None:
                return None
            if found is not None:
                await self.take(settling, side, found)
                self._relays.redemption(settling, side)
                return None
        finally:
            settling.searching.discard(side)
        return self._blamed(settling, judgement, asked=asked)

    async def _seen(self, settling: Settling, side: Party, blind: set[int]) -> tuple[Redeeming | None, bool]:
        """The redemption that `side` did not report, if there is one; and whether the chain told.

        blind: assets whose chain answers nothing now, so that not every match waits for it in turn.
        """
        asset, leg = settling.asset(side.other), settling.swap.legs[side.other]
        if asset in blind or not self._assets[asset].synced:
            return None, False
        try:
            return await self._assets[asset].redeemed(leg.coin_id, leg.contract), True
        except UnavailableError:
            blind.add(asset)
        except ElectrumError as error:
            log.info("redemption out of view", match=settling.match_id.hex(), error=str(error))
        return None, False

    def _blamed(self, settling: Settling, judgement: Judgement, *, asked: bool) -> Verdict | None:
        """Nobody is blamed by a server that cannot see; and once a contract may be refunded, it gives up."""
        if asked:
            return settling, judgement
        expired = any(self._clock.now_ms() >= lock * 1000 for lock in settling.swap.terms.locks)
        return (settling, Judgement(None, None)) if expired else None

    @staticmethod
    def _success(settling: Settling, side: Party, now: int) -> Point:
        return Point(account_id=settling.account(side), outcome=Outcome.SWAP_SUCCESS, link=settling.match_id, stamp=now)
