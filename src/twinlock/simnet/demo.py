"""The demo: a whole exchange from nothing, one swap told step by step, then market makers until somebody stops it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import tomlkit

from twinlock.client.control.serve import FILE_NAME, serving
from twinlock.client.events import SwapEnded
from twinlock.client.trader import Trader
from twinlock.errors import TwinlockError
from twinlock.protocol.orders import Side
from twinlock.seams import Clock, Entropy
from twinlock.simnet import ledger, traders
from twinlock.simnet.exchange import Exchange, Plan
from twinlock.simnet.market_maker import MarketMaker, MovingPrice
from twinlock.simnet.miner import Miner
from twinlock.simnet.narrator import Narrator
from twinlock.simnet.node import Node
from twinlock.simnet.processes import Process, together
from twinlock.simnet.timeline import Timeline
from twinlock.web.trader import pages


@dataclass(frozen=True, slots=True)
class Stake:
    """What a coin is worth in the demo. funds: atoms that each trader starts with; lot: atoms; worth: of one coin."""

    funds: int
    lot: int
    worth: int


STAKES = {"btc": Stake(100_000_000, 1_000_000, 1_000_000), "ltc": Stake(4_000_000_000, 50_000_000, 1_500)}
LOTS = 4

PATIENCE = 120.0
"""Seconds after which the first swap counts as failed."""

YOU = "you"
"""The trader that the demo keeps for whoever watches it."""

_BLOCK_SECONDS = 2.0
_QUOTE_SECONDS = 4.0


def make_plan(base: str, quote: str) -> Plan:
    """The exchange of the demo for two of the coins in STAKES."""
    return Plan(base=base, quote=quote, lot_size=STAKES[base].lot, block_seconds=_BLOCK_SECONDS)


def rate(plan: Plan) -> int:
    """The price to begin with, as a message-rate: quote atoms for 10^8 base atoms."""
    exact = 100_000_000 * STAKES[plan.base].worth // STAKES[plan.quote].worth
    return exact - exact % plan.rate_step


class DemoError(TwinlockError):
    """The story did not end as it should."""

    code = "simnet.demo"
    fault = "twinlock"


class Demo:
    """One run in a folder. `swaps` counts the swaps that settled."""

    def __init__(self, plan: Plan, folder: Path, timeline: Timeline, clock: Clock, entropy: Entropy) -> None:
        self.swaps = 0
        self.wallets: dict[str, dict[str, dict[str, int]]] = {}
        """Of the first swap: atoms by trader, coin, and column of the books."""
        self._plan = plan
        self._timeline = timeline
        self._clock = clock
        self._entropy = entropy
        self._exchange = Exchange(plan, folder, clock, self._stopped)
        self._traders: dict[str, Trader] = {}
        self._outcomes: asyncio.Queue[SwapEnded] = asyncio.Queue()

    async def run(self, *, once: bool) -> None:
        """Tell the story; without `once`, go on until cancelled. Raises TwinlockError when no swap settles."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._exchange.stop)
            await self._open_exchange()
            nodes = self._exchange.nodes.values()
            miner = Miner(nodes, self._clock, self._plan.block_seconds, self._mined)
            await stack.enter_async_context(miner)
            await self._first_swap(stack)
            if not once:
                await self._market(stack)

    # The exchange --------------------------------------------------------------------------------------------

    async def _open_exchange(self) -> None:
        exchange, tell = self._exchange, self._timeline.tell
        await exchange.start_nodes(lambda line: tell("programs", "setup", line))
        for node in exchange.nodes.values():
            height = await node.height()
            tell("node", f"{node.symbol} node", f"mines a private chain up to block {height}", height=height)
        await exchange.start_services()
        for name, address in self._addresses().items():
            tell("service", name, f"listens on {address}", address=address)

    def _addresses(self) -> dict[str, str]:
        exchange = self._exchange
        nodes = {f"{symbol} node": node.url for symbol, node in exchange.nodes.items()}
        indexers = {f"{symbol} indexer": exchange.electrum(symbol) for symbol in exchange.nodes}
        return {
            **nodes,
            **indexers,
            "server": f"wss://{exchange.host}/ws",
            "http": f"https://{exchange.host}/api/config",
        }

    def _mined(self, node: Node, height: int, waiting: int) -> None:
        self._timeline.status(f"{node.symbol} chain", f"block {height}")
        text = f"mines block {height}, transactions: {waiting}"
        self._timeline.tell("block", f"{node.symbol} node", text, height=height, transactions=waiting)

    def _stopped(self, process: Process, status: int) -> None:
        self._timeline.tell("stopped", process.name, f"has stopped (status {status})", status=status)

    # Traders -------------------------------------------------------------------------------------------------

    async def _enter(self, stack: AsyncExitStack, *names: str, steps: bool) -> None:
        """Traders with money, a bond and an account."""
        await together(*(self._enter_one(stack, name, steps) for name in names))

    async def _enter_one(self, stack: AsyncExitStack, name: str, steps: bool) -> None:
        trader = traders.fresh(self._exchange, name, self._entropy)
        narrator = Narrator(name, trader, self._timeline, steps=steps, ended=self._outcomes.put_nowait)
        telling = asyncio.create_task(narrator.run())
        stack.callback(telling.cancel)
        await stack.enter_async_context(trader)
        self._traders[name] = trader
        await trader.connected()
        await traders.fund(self._exchange, trader, {symbol: STAKES[symbol].funds for symbol in self._plan.symbols})
        await together(*(self._received(name, symbol) for symbol in self._plan.symbols))
        await trader.register(self._plan.quote)
        await traders.until(trader, lambda: traders.may_trade(trader))
        await traders.until_balance(trader, self._plan.quote, traders.settled)

    async def _received(self, name: str, symbol: str) -> None:
        trader, funds = self._traders[name], STAKES[symbol].funds
        await traders.until_balance(trader, symbol, lambda balance: balance.available == funds)
        text = f"has {traders.amount(funds, trader.coins[symbol].coin)} in a fresh wallet"
        self._timeline.tell("funded", name, text, asset=symbol, atoms=funds)

    # One swap ------------------------------------------------------------------------------------------------

    async def _first_swap(self, stack: AsyncExitStack) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._enter(stack, "alice", "bob", steps=True)
                before = {name: ledger.totals(trader) for name, trader in self._traders.items()}
                await self._trade("alice", "bob")
                ends = [await self._outcomes.get() for _ in ("alice", "bob")]
                if failed := [end.outcome for end in ends if end.outcome != "swapped"]:
                    raise DemoError(f"the swap ended otherwise: {', '.join(failed)}")
                for trader in self._traders.values():
                    for symbol in self._plan.symbols:
                        await traders.until_balance(trader, symbol, traders.settled)
        except TimeoutError:
            raise DemoError(
                f"no swap settled within {PATIENCE:g} s", fix=f"Read the logs in {self._exchange.folder / 'logs'}."
            ) from None
        self.swaps = 1
        await self._show_books(before)

    async def _trade(self, maker: str, taker: str) -> None:
        """The maker's order is on the book before the taker's is sent."""
        plan, quantity, seller = self._plan, LOTS * self._plan.lot_size, self._traders[maker]
        order = await seller.limit(plan.market, Side.SELL, quantity, rate(plan))
        await traders.until(seller, lambda: order.status == "booked")
        await self._traders[taker].limit(plan.market, Side.BUY, quantity, rate(plan))

    async def _show_books(self, before: dict[str, dict[str, int]]) -> None:
        tell, books = self._timeline.tell, []
        for name, trader in self._traders.items():
            books += await ledger.lines(self._exchange, name, trader, before[name], trader.swaps()[0])
        alice = self._traders["alice"]
        for what, coin_id in ledger.transactions(alice, alice.swaps()[0]).items():
            tell("transaction", "chains", f"{what.replace('_', ' ')}: {coin_id}", what=what, coin=coin_id)
        for line in books:
            line.check()
            self.wallets.setdefault(line.who, {})[line.symbol] = line.numbers()
            text = f"{line.symbol}: {line.before:,} atoms before, {line.after:,} after, of it {line.fee:,} in fees"
            tell("balance", line.who, text, asset=line.symbol, **line.numbers())
        columns = ("wallet", *books[0].numbers())
        rows = [(f"{line.who} {line.symbol}", *map("{:,}".format, line.numbers().values())) for line in books]
        self._timeline.table("Balances in atoms, bonds included", columns, rows)

    # The market ----------------------------------------------------------------------------------------------

    async def _market(self, stack: AsyncExitStack) -> None:
        """Two market makers quote in turn around a moving price, until cancelled."""
        plan, names = self._plan, ("carol", "dave")
        await self._enter(stack, *names, YOU, steps=False)
        await self._serve_you(stack)
        price = MovingPrice(rate(plan), plan.rate_step, self._entropy)
        makers = [MarketMaker(self._traders[name], plan.market, plan.lot_size, plan.rate_step) for name in names]
        counting = asyncio.create_task(self._count_swaps())
        stack.callback(counting.cancel)
        self._timeline.tell("market", "demo", "carol and dave make a market now; Ctrl-C stops everything")
        for name, address in self._addresses().items():
            self._timeline.status(name, address)
        while True:
            for name, maker in zip(names, makers, strict=True):
                await maker.quote(price.move(), partial(self._refused, name))
                self._timeline.status("price", f"{price.now:,} atoms of {plan.quote} for one {plan.base}")
                await self._clock.sleep(_QUOTE_SECONDS)

    async def _serve_you(self, stack: AsyncExitStack) -> None:
        """A trader with money and a bond for whoever watches: by the command line, or by a program."""
        you, folder = self._traders[YOU], self._exchange.folder
        await stack.enter_async_context(serving(you, self._entropy, pages()))
        config, control = folder / f"{YOU}.toml", you.config.folder / FILE_NAME
        config.write_text(tomlkit.dumps(msgspec.to_builtins(you.config)))
        text = f"trade too: export TWINLOCK_CONFIG={config} TWINLOCK_CONTROL={control}"
        self._timeline.tell("connect", YOU, text, config=str(config), control=str(control))

    async def _count_swaps(self) -> None:
        """Each swap ends twice, once for each side."""
        sides = 0
        while True:
            end = await self._outcomes.get()
            sides += end.outcome == "swapped"
            self.swaps = 1 + sides // 2
            self._timeline.status("swaps settled", str(self.swaps))

    def _refused(self, name: str, refusal: TwinlockError) -> None:
        self._timeline.tell("refused", name, f"cannot quote: {refusal}", code=refusal.code)
