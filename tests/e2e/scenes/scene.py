"""Two traders of one story, on a stage that other stories use at the same time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from tests.e2e.scenes.chainbook import witness_of
from tests.e2e.scenes.players import Player
from tests.e2e.scenes.stage import Stage

from twinlock.protocol.rates import base_to_quote
from twinlock.protocol.reputation import Outcome
from twinlock.protocol.swap import Party

LOTS = 3
Coins = dict[str, int]


class Fate(Enum):
    """What became of a contract."""

    ABSENT = "the chain never had it"
    REDEEMED = "the counterparty has it"
    REFUNDED = "its owner has it back"
    LOCKED = "nobody has taken it"


WITNESSES = {Fate.REDEEMED: 5, Fate.REFUNDED: 4}
"""Items with which a contract is spent: signature, key, (secret and) branch, contract."""


@dataclass
class Scene:
    """`contracts`: ``txid:index`` of each side's contract, once it is known. `rivals`: what spent its coins instead."""

    stage: Stage
    maker: Player
    taker: Player
    maker_sells: bool = True
    rate: int = 0
    match_id: str = ""
    before: dict[Party, Coins] = field(default_factory=dict)
    accounts: dict[Party, bytes] = field(default_factory=dict)
    orders: dict[Party, str] = field(default_factory=dict)
    contracts: dict[Party, str] = field(default_factory=dict)
    rivals: dict[Party, str] = field(default_factory=dict)

    def player(self, party: Party) -> Player:
        return self.maker if party is Party.MAKER else self.taker

    @property
    def quantity(self) -> int:
        """Base atoms that change hands."""
        return LOTS * self.stage.exchange.plan.lot_size

    def asset(self, payer: Party) -> str:
        """What that side gives."""
        plan = self.stage.exchange.plan
        return plan.base if (payer is Party.MAKER) is self.maker_sells else plan.quote

    def amount(self, payer: Party) -> int:
        """How much that side gives, in atoms."""
        base = self.asset(payer) == self.stage.exchange.plan.base
        return self.quantity if base else base_to_quote(self.rate, self.quantity)

    # What happens --------------------------------------------------------------------------------------------

    async def match(self) -> None:
        """The maker's order stands on the book, then the taker's meets it."""
        for party in Party:
            self.accounts[party] = await self.player(party).account_id()
            if party not in self.before:
                self.before[party] = await self.player(party).totals()
        place, self.rate = self.stage.floor.rate(self.maker_sells)
        try:
            order = await self.maker.order("sell" if self.maker_sells else "buy", self.quantity, self.rate)
            await self.maker.saw("order_changed", order_id=order.id, status="booked")
        finally:
            async with self.stage.floor.turn(self.maker_sells, place):
                taken = await self.taker.order("buy" if self.maker_sells else "sell", self.quantity, self.rate)
        self.match_id = (await self.taker.saw("match_made", order_id=taken.id))["match_id"]
        made = await self.maker.saw("match_made", order_id=order.id)
        assert made["match_id"] == self.match_id, "the taker met another maker than its own"
        self.orders = {Party.MAKER: order.id, Party.TAKER: taken.id}

    async def step(self, party: Party, step: str) -> dict[str, object]:
        """A step of the swap, once that side has told of it."""
        return await self.player(party).saw("swap_step", match_id=self.match_id, step=step)

    async def contract(self, party: Party) -> str:
        """That side's contract, once it is signed, as ``txid:index``."""
        self.contracts[party] = str((await self.step(party, "contract_signed"))["coin"])
        return self.contracts[party]

    async def ended(self, party: Party, outcome: str) -> None:
        """That side calls the swap over, with this outcome."""
        end = await self.player(party).saw("swap_ended", match_id=self.match_id)
        assert end["outcome"] == outcome, f"{self.player(party).name}: {end}"

    # The books -----------------------------------------------------------------------------------------------

    async def assert_books(self, fates: Mapping[Party, Fate], *others: tuple[Scene, Mapping[Party, Fate]]) -> None:
        """Every atom of both sides, by the fates of their contracts: amounts from the order, fees from the blocks.

        others: later matches of the two. Where no contract is locked, all that they have is free again.
        """
        expected = {party: dict(self.before[party]) for party in Party}
        told = ((self, fates), *others)
        for scene, ends in told:
            for payer, fate in ends.items():
                for party, atoms in (await scene._moves(payer, fate)).items():
                    expected[party][scene.asset(payer)] += atoms
        for party in Party:
            player, locked = self.player(party), any(ends[party] is Fate.LOCKED for _, ends in told)
            if not locked:
                await player.until_settled()
            await self.stage.patiently(partial(_holds, player, expected[party]))
            found = await player.totals()
            assert found == expected[party], f"{player.name}: {found}, expected {expected[party]}"

    async def _moves(self, payer: Party, fate: Fate) -> dict[Party, int]:
        """What a contract added to each side's coins."""
        book, coin = self.stage.books[self.asset(payer)], self.contracts.get(payer, "")
        await book.refresh()
        if fate is Fate.ABSENT:
            assert not coin or book.find(coin.split(":")[0]) is None, f"the chain has {coin}"
            return {payer: -book.fee(self.rivals[payer])} if payer in self.rivals else {}
        coin = coin or await self.contract(payer)
        value, cost = book.value(coin), book.fee(coin.split(":")[0])
        spender = book.spender(coin)
        if fate is Fate.LOCKED:
            assert spender is None, f"{coin} is spent"
            return {payer: -cost}  # a wallet counts what is in a swap
        assert spender is not None, f"nothing has spent {coin}"
        assert len(witness_of(spender, coin)) == WITNESSES[fate], f"{coin} is not {fate.name}"
        back = value - sum(book.fee(tx["txid"]) for tx in book.lifted(spender["txid"]))
        return {payer: back - value - cost} if fate is Fate.REFUNDED else {payer: -value - cost, payer.other: back}

    async def assert_outcomes(self, **outcomes: Outcome) -> None:
        """The exchange counts this, and nothing else of this match, for or against its sides: `maker=`, `taker=`."""
        expected = {self.accounts[Party[side.upper()]]: [each] for side, each in outcomes.items()}
        match_id = bytes.fromhex(self.match_id)

        async def judged() -> bool:
            return self.stage.outcomes(match_id) == expected

        await self.stage.patiently(judged)
        assert self.stage.outcomes(match_id) == expected


async def _holds(player: Player, totals: Coins) -> bool:
    return await player.totals() == totals
