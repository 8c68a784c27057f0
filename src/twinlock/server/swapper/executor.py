"""The swap executor: begins matches, watches their contracts, fails the late ones, resumes after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from twinlock.chain.keys import PrivateKey
from twinlock.electrum.errors import ElectrumError
from twinlock.protocol.codes import RpcError
from twinlock.protocol.matcher import Match
from twinlock.protocol.orders import CancelOrder, LimitOrder, match_id
from twinlock.protocol.swap import LegStatus, MatchStatus, Party, judge
from twinlock.protocol.swap.events import Seen, Vanished
from twinlock.protocol.swap.referee import Judgement
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend
from twinlock.server.assets.backend import Redeeming
from twinlock.server.comms.hub import Hub
from twinlock.server.db import Database, Write
from twinlock.server.db.matches import StoredMatch, add_matches, load_active_matches
from twinlock.server.db.orders import load_order
from twinlock.server.market.core import Processed
from twinlock.server.market.locks import CoinLocks
from twinlock.server.market.terms import MarketTerms
from twinlock.server.swapper.active import ActiveMatches
from twinlock.server.swapper.endings import Endings, OrderKeeper, Verdict
from twinlock.server.swapper.negotiation import Negotiator, Notice
from twinlock.server.swapper.redemptions import PORTION, REDEEMS, Redemptions
from twinlock.server.swapper.relays import Relays
from twinlock.server.swapper.settling import Settling, SwapPolicy, new_match, resume, stored_match
from twinlock.server.swapper.sight import Sight
from twinlock.server.users.reputation import Reputations

log = structlog.get_logger(__name__)

# The contract that each status waits to see confirmed.
_WATCHED = {MatchStatus.MAKER_SWAP_CAST: Party.MAKER, MatchStatus.TAKER_SWAP_CAST: Party.TAKER}
# How far a side's own swap counts as exposure (section 4.9).
_EXPOSED_BELOW = {Party.MAKER: MatchStatus.MAKER_REDEEMED, Party.TAKER: MatchStatus.TAKER_SWAP_CAST}
_TICK_MAX_S = 5.0
_AT_A_GLANCE = 500
"""Matches that are judged in one turn of the loop."""


@dataclass(frozen=True, slots=True)
class MatchPlan:
    """The matches of an epoch: commit `writes` first, then `begin`."""

    executor: SwapExecutor
    base: int
    quote: int
    matches: tuple[StoredMatch, ...]

    @property
    def writes(self) -> list[Write]:
        """The rows of the new matches."""
        return add_matches(self.matches)

    def begin(self) -> None:
        """Tell both sides of every match."""
        self.executor.begin(self)


class SwapExecutor:
    """Every active match of every market. Run `run` as a task."""

    def __init__(
        self,
        hub: Hub,
        database: Database,
        assets: Mapping[int, AssetBackend],
        locks: Mapping[int, CoinLocks],
        negotiator: Negotiator,
        relays: Relays,
        reputations: Reputations,
        orders: OrderKeeper,
        policy: SwapPolicy,
        key: PrivateKey,
        clock: Clock,
    ) -> None:
        self._hub = hub
        self._database = database
        self._assets = assets
        self._locks = locks
        self._negotiator = negotiator
        self._policy = policy
        self._clock = clock
        self._active = ActiveMatches()
        self._endings = Endings(self._active, hub, database, locks, reputations, orders, key, clock)
        self._redemptions = Redemptions(self._endings, relays, database, reputations, assets, clock)
        self._sight = Sight(assets, clock, policy.broadcast_timeout_ms)
        self._wake = asyncio.Event()
        self._new_blocks: set[int] = set()
        self._unaddressed: list[Settling] = []
        """Matches of before a restart that lack an address, which cannot be told any more; nobody is to blame."""
        for number, asset in assets.items():
            asset.on_block(partial(self._block, number))

    # Settlement, as market managers see it

    def plan(self, terms: MarketTerms, processed: Processed) -> MatchPlan:
        """The rows of an epoch's matches."""
        rows = tuple(new_match(terms, processed, match) for match in processed.matched.matches)
        return MatchPlan(self, terms.base, terms.quote, rows)

    def plan_cancel(self, terms: MarketTerms, cancel: CancelOrder, target: LimitOrder, now_ms: int) -> MatchPlan:
        """The row of a cancel that took effect at once, outside of any epoch."""
        identity = match_id(cancel.id, target.id, target.remaining, target.rate)
        found = Match(identity, cancel, target, target.remaining, target.rate)
        row = stored_match(
            terms,
            cancel,
            target,
            match_id=found.id,
            quantity=found.quantity,
            rate=found.rate,
            match_time=now_ms,
            epoch=now_ms // terms.epoch_ms,
            fee_rates=(self._assets[terms.base].fee_rate, self._assets[terms.quote].fee_rate),
            is_cancel=True,
        )
        return MatchPlan(self, terms.base, terms.quote, (row,))

    def begin(self, plan: MatchPlan) -> None:
        """Tell everyone their stored matches; one request per account."""
        parties: list[Notice] = []
        for stored in plan.matches:
            settling = (
                None if stored.is_cancel else self._active.add(Settling(stored, plan.base, plan.quote, self._policy))
            )
            parties += (Notice(stored, side, settling) for side in Party)
        self._hub.start(self._tell(self._negotiator.group(parties)))

    async def _tell(self, grouped: Mapping[bytes, Sequence[Notice]]) -> None:
        """One account a turn of the loop: everybody else has theirs in between."""
        for account_id, own in grouped.items():
            for stored in (notice.stored for notice in own if notice.side is Party.MAKER):
                log.info(
                    "match made",
                    match=stored.match_id.hex(),
                    market=stored.market,
                    maker_order=stored.maker_order.hex(),
                    taker_order=stored.taker_order.hex(),
                    cancel=stored.is_cancel,
                )
            self._hub.start(self._negotiator.tell(account_id, own))
            await asyncio.sleep(0)

    def settling(self, account_id: bytes, market: str) -> int:
        """Base atoms of an account's matches that still bind its funds."""
        return sum(
            settling.stored.quantity
            for settling in self._active.of(account_id)
            for side in settling.sides(account_id)
            if settling.stored.market == market and settling.status < _EXPOSED_BELOW[side]
        )

    def settles(self, order_id: bytes, account_id: bytes) -> bool:
        """Whether an active match settles an order of that account."""
        return self._active.settles(order_id, account_id)

    # Matches, as the report desk and the status desk see them

    def find(self, wanted: bytes) -> Settling | None:
        """A match that can still go on."""
        return self._active.find(wanted)

    def of(self, account_id: bytes) -> list[Settling]:
        """The active matches of an account."""
        return self._active.of(account_id)

    def accounts(self) -> list[bytes]:
        """The accounts that have active matches."""
        return self._active.accounts()

    def reused(self, settling: Settling, side: Party, coin_id: bytes, contract: bytes, secret_hash: bytes) -> bool:
        """Whether another active match has this coin or contract, or (for a maker) this secret hash."""
        return self._active.reused(settling, side, coin_id, contract, secret_hash)

    def claim(self, settling: Settling, side: Party, coin_id: bytes, contract: bytes, secret_hash: bytes) -> None:
        """From now on these serve this match alone: before anything waits, so that two at once cannot both pass."""
        self._active.claim(settling, side, coin_id, contract, secret_hash)

    def overdue(self, settling: Settling) -> bool:
        """Whether the time for the next step is over, so that the match is about to fail."""
        return self._judge(settling) is not None

    def swap_seen(self, settling: Settling, side: Party) -> None:
        """A contract is accepted; once it is deep enough the order's coins are spent for good."""
        if settling.swap.legs[side].status is LegStatus.CONFIRMED:
            self._release(settling, side)

    async def expired(self, settling: Settling) -> None:
        """A contract came too late to be of use; nobody is blamed."""
        await self._endings.fail([(settling, Judgement(None, None))])

    async def redeemed(self, settling: Settling, side: Party, found: Redeeming, signature: bytes) -> None:
        """A redemption is accepted; with the taker's the match is complete."""
        await self._redemptions.take(settling, side, found, signature)

    def returned(self, account_id: bytes) -> None:
        """An account logged in: tell it the addresses it may have missed.

        It is never asked again for its own (docs/decisions/0022): the Go client answers a repeated `match` with a new
        address that it then does not remember, so the other side would fund a contract that nobody audits. Without an
        address a match just runs out of time, before anybody has coins at stake.
        """
        own = [(settling, side) for settling in self.of(account_id) for side in settling.sides(account_id)]
        self._hub.start(self._negotiator.send_addresses(own))

    def __len__(self) -> int:
        return len(self._active)

    def __iter__(self) -> Iterator[Settling]:
        return iter(self._active)

    # Watching

    async def run(self) -> None:
        """Look after every block, and often enough to miss no deadline, for ever."""
        pause = min(_TICK_MAX_S, self._policy.broadcast_timeout_ms / 4000)
        while True:
            sleeper = asyncio.ensure_future(self._clock.sleep(pause))
            waker = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait((sleeper, waker), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeper.cancel()
                waker.cancel()
            self._wake.clear()
            await self._look()

    async def resume(self, terms: Mapping[str, MarketTerms]) -> None:
        """Take up every match that was active when the server stopped."""
        families = {number: asset.family for number, asset in self._assets.items()}
        now = self._clock.now_ms()
        for stored in await load_active_matches(self._database):
            market = terms.get(stored.market)
            if market is None:
                log.warning(
                    "match of a market that is not configured", match=stored.match_id.hex(), market=stored.market
                )
                continue
            settling = Settling(stored, market.base, market.quote, self._policy)
            resume(settling, families, now)
            await self._lock_again(self._active.add(settling))
            if settling.status is MatchStatus.NEWLY_MATCHED and not all(settling.swap.addresses):
                self._unaddressed.append(settling)
        self._new_blocks.update(self._assets)
        self._wake.set()

    async def _lock_again(self, settling: Settling) -> None:
        """The coins of a side that has not swapped yet are promised to this match."""
        for side in Party:
            if not settling.swap.legs[side].known:
                stored = await load_order(self._database, settling.order(side))
                if stored is None or isinstance(stored.order, CancelOrder):
                    continue
                try:
                    self._locks[settling.asset(side)].lock(stored.order.id, stored.order.coins)
                except RpcError as error:
                    log.warning("coins of a match are locked twice", order=stored.order.id.hex(), error=str(error))

    def _block(self, asset_id: int) -> None:
        self._new_blocks.add(asset_id)
        self._wake.set()

    async def _look(self) -> None:
        self._sight.look()
        await self._look_at_depths()
        late = await self._late()
        unredeemed = self._redemptions.begin(late)
        if unredeemed:
            self._hub.start(self._fail_unredeemed(unredeemed))  # beside all else: a chain may be slow to answer
        lost, self._unaddressed = self._unaddressed, []
        await self._fail([(settling, Judgement(None, None)) for settling in lost])
        for start in range(0, len(late), PORTION):
            # Judged once more: while those before it ended, somebody may have acted.
            judged = ((settling, self._judge(settling)) for settling in late[start : start + PORTION])
            await self._endings.fail(
                [
                    (settling, judgement)
                    for settling, judgement in judged
                    if judgement is not None and settling.status not in REDEEMS
                ]
            )

    async def _late(self) -> list[Settling]:
        """The matches whose time is over, looked for in portions: everybody else has turns in between."""
        late: list[Settling] = []
        active = list(self._active)
        for start in range(0, len(active), _AT_A_GLANCE):
            glance = active[start : start + _AT_A_GLANCE]
            late += [settling for settling in glance if not settling.searching and self._judge(settling) is not None]
            await asyncio.sleep(0)
        return late

    def _judge(self, settling: Settling) -> Judgement | None:
        """The reason to fail a match now. Redemptions are asked for on their chains, in view or not."""
        if settling.status in REDEEMS:
            return judge(settling.swap, self._clock.now_ms())
        return self._sight.judge(settling)

    async def _look_at_depths(self) -> None:
        """After a block: how deep the contracts are that somebody waits for. A chain out of view is asked next time."""
        fresh, self._new_blocks = self._new_blocks, set()
        blind: set[int] = set()
        watched = [
            (settling, side)
            for settling in self._active
            if (side := _WATCHED.get(settling.status)) is not None and settling.asset(side) in fresh
        ]
        for start in range(0, len(watched), PORTION):
            looks = [
                self._check_depth(settling, side, blind)
                for settling, side in watched[start : start + PORTION]
                if settling.asset(side) not in blind
            ]
            await asyncio.gather(*looks)
        self._new_blocks |= blind

    async def _fail_unredeemed(self, due: Sequence[Settling]) -> None:
        await self._fail(await self._redemptions.missing(due))

    async def _fail(self, due: Sequence[Verdict]) -> None:
        """In portions: each is one transaction, and everybody else has a turn in between."""
        for start in range(0, len(due), PORTION):
            await self._endings.fail(due[start : start + PORTION])

    async def _check_depth(self, settling: Settling, side: Party, blind: set[int]) -> None:
        """blind: assets whose chain answers nothing now."""
        leg = settling.swap.legs[side]
        try:
            depth = await self._assets[settling.asset(side)].swap_confirmations(leg.coin_id, leg.contract)
        except ElectrumError as error:
            log.warning("contract out of view", match=settling.match_id.hex(), error=str(error))
            blind.add(settling.asset(side))
            return
        seen = Vanished(side) if depth is None else Seen(side, depth, self._clock.now_ms())
        settling.learn(seen)
        self.swap_seen(settling, side)

    def _release(self, settling: Settling, side: Party) -> None:
        self._locks[settling.asset(side)].release(settling.order(side))
