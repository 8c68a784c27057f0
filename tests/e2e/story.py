"""What the stories share: an exchange, a maker and a taker with money and bonds, and books kept to the atom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from twinlock.client.control.views import SwapView
from twinlock.protocol.rates import base_to_quote
from twinlock.seams import SystemClock, SystemEntropy
from twinlock.simnet.clients import Client
from twinlock.simnet.exchange import Exchange, Plan
from twinlock.simnet.miner import Miner
from twinlock.simnet.processes import together

PLAN = Plan(epoch_ms=1_000, block_seconds=0.5)
FUNDS = {"btc": 100_000_000, "ltc": 4_000_000_000}
RATE = 150_000
LOTS = 3


@dataclass
class Story:
    """One exchange and its two traders, both at tier 1. `before` is what they had before the orders."""

    exchange: Exchange
    maker: Client
    taker: Client
    maker_sells: bool = True
    before: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def clients(self) -> tuple[Client, Client]:
        return self.maker, self.taker

    @property
    def quantity(self) -> int:
        """Base atoms that change hands."""
        return LOTS * self.exchange.plan.lot_size

    @property
    def maker_asset(self) -> str:
        """What the maker gives."""
        return self.exchange.plan.base if self.maker_sells else self.exchange.plan.quote

    @property
    def taker_asset(self) -> str:
        """What the taker gives."""
        return self.exchange.plan.quote if self.maker_sells else self.exchange.plan.base

    async def match(self) -> None:
        """The maker's order stands on the book, then the taker's meets it."""
        self.before = {client.name: await client.totals() for client in self.clients}
        await self.maker.order("sell" if self.maker_sells else "buy", self.quantity, RATE)
        await self.maker.saw("order_changed", status="booked")
        await self.taker.order("buy" if self.maker_sells else "sell", self.quantity, RATE)

    async def ended(self, outcome: str) -> None:
        """Both sides call the swap over, with this outcome, and everything they have is free again."""
        for client in self.clients:
            end = await client.saw("swap_ended")
            assert end["outcome"] == outcome, f"{client.name}: {end}"
        for client in self.clients:
            await client.until_settled()

    async def assert_swapped(self) -> None:
        """Every atom is where a settled swap puts it; amounts from the order, fees from the blocks themselves."""
        expected = {name: dict(totals) for name, totals in self.before.items()}
        for payer, payee, asset in self._legs():
            contract, spending = await self._fees(payer, asset)
            expected[payer.name][asset] -= self._amount(asset) + contract
            expected[payee.name][asset] += self._amount(asset) - spending
        await self._assert_totals(expected)

    async def assert_refunded(self, *payers: Client) -> None:
        """Those who had made a contract lost the fees of it and of its refund; nobody lost anything else."""
        expected = {name: dict(totals) for name, totals in self.before.items()}
        for payer, _, asset in self._legs():
            if payer in payers:
                expected[payer.name][asset] -= sum(await self._fees(payer, asset))
        await self._assert_totals(expected)

    def _legs(self) -> tuple[tuple[Client, Client, str], tuple[Client, Client, str]]:
        return (self.maker, self.taker, self.maker_asset), (self.taker, self.maker, self.taker_asset)

    def _amount(self, asset: str) -> int:
        return self.quantity if asset == self.exchange.plan.base else base_to_quote(RATE, self.quantity)

    async def _fees(self, payer: Client, asset: str) -> tuple[int, int]:
        """Atoms of the payer's contract, and of what spent it."""
        txid, index = (await only_swap(payer)).own_coin.split(":")
        node = self.exchange.nodes[asset]
        spender = await node.spender(txid, int(index))
        assert spender is not None, f"nothing has spent {payer.name}'s contract {txid}:{index}"
        return await node.fee(txid), await node.fee(spender)

    async def _assert_totals(self, expected: dict[str, dict[str, int]]) -> None:
        assert {client.name: await client.totals() for client in self.clients} == expected


async def only_swap(client: Client) -> SwapView:
    (swap,) = await client.swaps()
    return swap


@asynccontextmanager
async def told(folder: Path, plan: Plan = PLAN, *, maker_sells: bool = True) -> AsyncIterator[Story]:
    """A story ready for its first order; blocks come by themselves."""
    async with Exchange(plan, folder, SystemClock()) as exchange:
        miner = Miner(exchange.nodes.values(), SystemClock(), plan.block_seconds, lambda *_: None)
        story = Story(exchange, Client(exchange, "maker"), Client(exchange, "taker"), maker_sells)
        async with miner:
            await together(*(_enter(client) for client in story.clients))
            yield story


async def _enter(client: Client) -> None:
    client.prepare(SystemEntropy())
    await client.start()
    await client.until_venue(lambda venue: venue.connected)
    await client.enter(FUNDS)
