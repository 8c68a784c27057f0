"""A live exchange on a clock that jumps, and everything that may happen to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from tests.server.conftest import BOND, BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.jump_clock import JumpClock
from tests.server.nonsense.mirror import Mirror
from tests.server.nonsense.talk import Nonsense
from tests.server.settlement import MAKER_LOCK_S, TAKER_LOCK_S
from tests.server.trader import PATIENCE_S, Trader
from websockets.exceptions import ConnectionClosed

from twinlock.electrum.errors import RejectedError
from twinlock.protocol import routes
from twinlock.protocol.codes import RpcError
from twinlock.protocol.messages.account import Connect
from twinlock.protocol.messages.orders import OrderOptions, PlaceLimit, PlaceMarket
from twinlock.protocol.messages.swaps import Acknowledgement, Audit
from twinlock.protocol.orders import Side, TimeInForce
from twinlock.protocol.signing import signed
from twinlock.protocol.swap import Party
from twinlock.protocol.wire import Hex, encode
from twinlock.server.market.manager import MarketManager
from twinlock.server.swapper.settling import Settling

NAME = "ltc_btc"
EPOCH_MS = 10_000
ASSETS = (LTC, BTC)
_SILENCE_S = 15.0
"""Less than what a link may be silent for after a pong."""
_STUCK_S = 0.15
_EVENTS = (
    *("order accepted", "match made", "contract accepted", "redemption accepted", "match complete", "match revoked"),
    *("preimage missed", "bond accepted", "market suspended", "coin of a booked order is spent", "exchange open"),
)


@dataclass
class World:
    """`up`: the traders whose socket is open. refused: how often each code was answered."""

    folder: Path
    traders: list[Trader] = field(default_factory=list)
    up: set[int] = field(default_factory=set)
    receipts: list[bytes] = field(default_factory=list)
    secrets: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)
    frames: list[str] = field(default_factory=list)
    processed: int = 0

    async def begin(self) -> None:
        """Start the server, with somebody who watches it."""
        self.exchange = Exchange(self.folder)
        self.exchange.clock = self.clock = JumpClock()
        self.exchange.epoch_ms = EPOCH_MS
        self.exchange.settings = {"broadcast_timeout_ms": 60_000, "tx_wait_ms": 1}
        await self._started()
        self.mirror = Mirror(await self.exchange.guest())
        await self.mirror.begin()

    async def _started(self) -> None:
        await self.exchange.start()
        self.processed = self.market.now() - 1
        self.market.on_epoch.append(lambda _, epoch: setattr(self, "processed", epoch))
        self.waiter = asyncio.ensure_future(self.exchange.running.wait())

    @property
    def market(self) -> MarketManager:
        """The one market."""
        return self.exchange.running.manager.markets[NAME]

    def tally(self, logs: Sequence[Mapping[str, Any]]) -> Counter[str]:
        """What the server did, and which codes it answered with."""
        told = Counter(str(entry["event"]) for entry in logs if entry["event"] in _EVENTS)
        return told + Counter({f"code {code}": times for code, times in self.refused.items()})

    async def end(self) -> None:
        """Everybody goes, and the server stops."""
        self.waiter.cancel()
        await self.exchange.close()

    # Time

    async def pass_time(self, seconds: float) -> None:
        """Put the clock forward, in steps that no link dies of: everybody says something before each."""
        while seconds > 0:
            for number in tuple(self.up):
                await self.attempt(self.traders[number].ask(routes.CONFIG, None))
            await self.mirror.eyes.ask(routes.CONFIG, None)
            self.clock.jump(min(seconds, _SILENCE_S))
            seconds -= _SILENCE_S
            await asyncio.sleep(0)

    async def end_epoch(self) -> None:
        """Jump over the end of the epoch, and wait until it is processed; who reveals nothing misses."""
        ending = self.market.now()
        await self.pass_time(((ending + 1) * EPOCH_MS - self.clock.now_ms()) / 1000)
        await self.caught_up(ending)

    async def caught_up(self, epoch: int) -> None:
        """Wait until an epoch is processed, if the market runs then."""
        async with asyncio.timeout(PATIENCE_S):
            while self.processed < epoch and self.market.schedule.runs(epoch):
                for _ in range(20):
                    await asyncio.sleep(0.005)
                    if self.processed >= epoch:
                        return
                self.exchange.expire_requests()
                await self.pass_time(1)

    # What a trader does

    async def attempt(self, work: Awaitable[Any]) -> Any:
        """The result, or None for a refusal or a link that closed; time passes while the answer takes its time."""
        task = asyncio.ensure_future(work)
        while not (await asyncio.wait({task}, timeout=_STUCK_S))[0]:
            self.clock.jump(3)
        try:
            return task.result()
        except RpcError as error:
            self.refused[error.rpc_code] += 1
        except (ConnectionClosed, ConnectionResetError):
            self.refused[-1] += 1
        return None

    def trader(self, number: int) -> Trader | None:
        """A trader who is there."""
        here = sorted(self.up)
        return self.traders[here[number % len(here)]] if here else None

    async def join(self, tiers: int) -> None:
        """Somebody new, with a bond."""
        trader = await self.exchange.guest()
        self.up.add(len(self.traders))
        self.traders.append(trader)
        await self.attempt(trader.register(BTC, BOND * tiers))

    async def leave(self, number: int, *, politely: bool) -> None:
        """A link ends, with a goodbye or without."""
        trader = self.trader(number)
        if trader is None or trader.socket is None:
            return
        self.up.discard(self.traders.index(trader))
        if not politely:
            trader.socket.transport.abort()
        await trader.shut()

    async def come_back(self, number: int, *, login: bool) -> None:
        """Somebody opens a new link, and perhaps logs in."""
        gone = sorted(set(range(len(self.traders))) - self.up)
        if not gone:
            return
        index = gone[number % len(gone)]
        await self.exchange.reconnect(self.traders[index])
        self.up.add(index)
        if login:
            await self.attempt(self.traders[index].connect())

    async def impersonate(self, number: int, other: int) -> None:
        """A link that speaks for one account logs in to another, whose key its owner has too."""
        trader, victim = self.trader(number), self.trader(other)
        if trader is not None and victim is not None:
            request = Connect(account_id=Hex(victim.account), timestamp=1)
            await self.attempt(trader.ask(routes.CONNECT, signed(victim.key, request)))
            self.up -= {n for n in self.up if self.traders[n] is victim and trader is not victim}
            if victim is not trader:
                await victim.shut()

    async def order(
        self, number: int, side: Side, lots: int, step: int, kind: str, flaw: str, options: OrderOptions
    ) -> None:
        """Place an order, with something wrong about it unless flaw is ""."""
        trader = self.trader(number)
        if trader is None:
            return
        rate = RATE + step * 100_000
        asset = MARKET[0] if side is Side.SELL else MARKET[1]
        value = 2 * lots * LOT if side is Side.SELL else 2 * lots * LOT * (rate + 10**7) // 10**8
        funds = self.exchange.chains[asset].fund(trader.new_key(), value, confirmed=flaw != "unconfirmed")
        changes: dict[str, Any] = {} if options.plain or kind == "market" else {"options": options}
        changes |= _FLAWS.get(flaw, {})
        order: PlaceLimit | PlaceMarket
        if kind == "market":
            changes.pop("rate", None)
            quantity = lots * LOT * rate // 10**8 * 3 // 2 if side is Side.BUY else lots * LOT
            order = trader.market_order(MARKET, side, quantity, funds, **changes)
        else:
            force = int(TimeInForce.IMMEDIATE if kind == "immediate" else TimeInForce.STANDING)
            order = trader.limit_order(MARKET, side, lots * LOT, rate, funds, **({"time_in_force": force} | changes))
        if flaw == "forged":
            order = replace(order, sig=Hex(b"\x30" * 8))
        if flaw == "spent":
            self.exchange.chains[asset].claim(funds.point)
        receipt = await self.attempt(trader.place(order))
        self.frames.append('{"type":1,"route":"limit","id":7,"payload":' + encode(order).decode() + "}")
        if receipt is not None:
            self.receipts.append(bytes(receipt.order_id))
            if flaw == "robbed":
                self.exchange.chains[asset].claim(funds.point)

    async def cancel(self, number: int, target: int) -> None:
        """Cancel any order of anybody."""
        trader = self.trader(number)
        if trader is not None and self.receipts:
            wanted = self.receipts[-1 - target % len(self.receipts)]
            await self.attempt(trader.place(trader.cancel_order(MARKET, wanted)))

    def behave(self, number: int, *, reveals: bool, lies: bool, answers: str) -> None:
        """How somebody answers the server from now on."""
        trader = self.trader(number)
        if trader is not None:
            trader.reveals, trader.lies = reveals, lies
            spoil = _ANSWERS[answers]
            trader.acknowledge = lambda found: spoil(trader.acknowledge_all(found))

    async def repeat(self, number: int, which: int) -> None:
        """Send an old message again."""
        trader = self.trader(number)
        if trader is not None and trader.socket is not None and self.frames:
            await self.attempt(trader.socket.send(self.frames[which % len(self.frames)]))

    async def talk(self, number: int, seed: int, count: int) -> None:
        """Frames of nonsense, until the server has had enough."""
        trader = self.trader(number)
        if trader is None or trader.socket is None:
            return
        nonsense = Nonsense(seed, b'{"type":1,"route":"orderbook","id":1,"payload":{"base":2,"quote":0},"sig":""}')
        for _ in range(count):
            await self.attempt(trader.socket.send(nonsense.frame()))
        if await self.attempt(trader.ask(routes.CONFIG, None)) is None:
            self.up.discard(self.traders.index(trader))

    # Swaps

    def pick(self, which: int) -> Settling | None:
        """An active match."""
        found = [settling for trader in self.traders for settling in self.executor.of(trader.account)]
        return found[which % len(found)] if found else None

    @property
    def executor(self) -> Any:
        """The swap executor."""
        return self.exchange.running.manager.executor

    async def report_contract(self, which: int, side: Party, flaw: str) -> None:
        """A contract of a match, at the right time or not."""
        settling = self.pick(which)
        if settling is None or settling.swap.addressed_ms is None:
            return
        trader = self._of(settling.account(side))
        if trader is None or settling.match_id not in trader.matches:
            return
        secret = self.secrets.setdefault(settling.match_id, trader.new_secret())
        asset = settling.asset(side)
        maker = side is Party.MAKER
        lock = settling.stored.match_time // 1000 + (MAKER_LOCK_S if maker else TAKER_LOCK_S)
        value = settling.swap.terms.amounts[side]
        report = await self.attempt(
            trader.make_contract(
                settling.match_id,
                asset,
                value + (flaw == "value"),
                bytes(32) if flaw == "hash" else secret[1],
                lock - (flaw == "lock"),
                self.exchange.chains[asset].fund(trader.new_key(), value + 10**6),
                recipient="self" if flaw == "thief" else "",
                rate=1 if flaw == "cheap" else 10,
                order_id=settling.order(side),
            )
        )
        if report is not None:
            await self.attempt(trader.ask(routes.INIT, report))

    async def report_redemption(self, which: int, side: Party, flaw: str) -> None:
        """A redemption of a match, at the right time or not."""
        settling = self.pick(which)
        if settling is None or not settling.swap.legs[side.other].known:
            return
        trader, leg = self._of(settling.account(side)), settling.swap.legs[side.other]
        if trader is None or settling.match_id not in trader.matches or settling.match_id not in self.secrets:
            return
        asset = settling.asset(side.other)
        coin = self.exchange.chains[asset]
        raw = await coin.raw_transaction(leg.coin_id[:32][::-1].hex())
        audit = Audit(
            order_id=Hex(settling.order(side)),
            match_id=Hex(settling.match_id),
            timestamp=0,
            coin_id=Hex(leg.coin_id),
            contract=Hex(leg.contract),
            tx=Hex(raw),
        )
        secret = self.secrets[settling.match_id][0]
        if flaw != "early" and side is Party.TAKER and not settling.stored.secret:
            return
        try:
            report = trader.make_redemption(settling.match_id, asset, audit, secret)
        except RejectedError:  # it is spent already
            return
        report = replace(report, order_id=Hex(settling.order(side)))
        if flaw == "secret":
            report = replace(report, secret=Hex(bytes(32)))
        await self.attempt(trader.ask(routes.REDEEM, signed(trader.key, report)))

    def _of(self, account: bytes) -> Trader | None:
        return next((self.traders[n] for n in sorted(self.up) if self.traders[n].account == account), None)

    # What the operator and the chains do

    async def restart(self, *, crash: bool, everybody: bool) -> None:
        """The server stops or dies, and starts again; everybody comes back, or nobody yet."""
        self.waiter.cancel()
        await (self.exchange.crash() if crash else self.exchange.stop())
        await self._started()
        back, self.up = tuple(self.up), set()
        await self.exchange.reconnect(self.mirror.eyes)
        await self.mirror.begin()
        for number in back:
            await self.traders[number].shut()
            if everybody:
                await self.exchange.reconnect(self.traders[number])
                self.up.add(number)
                await self.attempt(self.traders[number].connect())

    async def suspend(self, *, persist: bool, epochs: int) -> None:
        """The operator stops the market after so many epochs more, unless it has stopped."""
        await self.attempt(self.exchange.running.manager.suspend(NAME, self._after(epochs), persist=persist))

    async def resume(self, epochs: int = 0) -> None:
        """The operator lets it run again, after so many epochs more."""
        await self.attempt(self.exchange.running.manager.resume(NAME, self._after(epochs)))

    def _after(self, epochs: int) -> int:
        return self.clock.now_ms() + epochs * EPOCH_MS


def _same(answers: list[Acknowledgement]) -> list[Acknowledgement]:
    return answers


_ANSWERS: dict[str, Any] = {
    "well": _same,
    "nothing": lambda answers: [],
    "twice": lambda answers: answers * 2,
    "unsigned": lambda answers: [replace(answer, sig=Hex()) for answer in answers],
    "nowhere": lambda answers: [replace(answer, address="nowhere") for answer in answers],
}
ANSWERS = tuple(_ANSWERS)
_FLAWS: dict[str, dict[str, Any]] = {
    "quantity": {"quantity": LOT + 1},
    "rate": {"rate": 0},
    "address": {"address": "nowhere"},
    "account": {"account_id": Hex(bytes(32))},
    "coins": {"coins": []},
    "time": {"client_time": 1},
    "huge": {"quantity": 2**63 - 2**63 % LOT + LOT},
}
FLAWS = (*_FLAWS, "forged", "spent", "unconfirmed", "robbed")
