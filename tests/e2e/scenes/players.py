"""Who trades in the stories: clients as processes of their own, and rogues built from the client's library."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol

import msgspec
import tomlkit

from twinlock.chain.coins import Coin
from twinlock.chain.tx import Tx
from twinlock.client.config import ServerConfig, WalletConfig
from twinlock.client.control.views import StatusView, VenueView
from twinlock.client.events import Event
from twinlock.client.link import Dialer, Link, websocket_dialer
from twinlock.client.store.records import SwapRecord
from twinlock.client.trader import Trader, initialize
from twinlock.electrum.errors import UnavailableError
from twinlock.electrum.view import ChainView
from twinlock.protocol import envelope
from twinlock.protocol.envelope import MessageType
from twinlock.protocol.orders import Side
from twinlock.protocol.routes import MATCH, REDEEM
from twinlock.seams import Entropy, SystemEntropy
from twinlock.simnet import traders
from twinlock.simnet.clients import PATIENCE, Client
from twinlock.simnet.exchange import Exchange

NOWHERE_ELSE: Mapping[str, str] = MappingProxyType({})


class Player(Protocol):
    """A trader in a story."""

    name: str

    async def order(self, side: Literal["buy", "sell"], quantity: int, rate: int) -> Any: ...

    async def saw(self, event: str, *, after: int = 0, **members: object) -> dict[str, Any]: ...

    def so_far(self) -> int:
        """Where `after` begins with what it tells from now on."""
        ...

    async def totals(self) -> dict[str, int]: ...

    async def until_settled(self) -> None: ...

    async def account_id(self) -> bytes: ...

    async def start(self) -> None: ...

    async def kill(self) -> None: ...


class Daemon(Client):
    """A client process. host: where it believes the exchange to be, if it is to go another way; electrum: where it
    believes the indexers, by coin.
    """

    def __init__(
        self, exchange: Exchange, name: str, host: str = "", electrum: Mapping[str, str] = NOWHERE_ELSE
    ) -> None:
        super().__init__(exchange, name)
        self._host = host
        self._electrum = electrum
        self._rows: list[dict[str, Any]] = []
        self._offset = 0

    def prepare(self, entropy: Entropy) -> None:
        super().prepare(entropy)
        config = tomllib.loads(self._file.read_text())
        config["servers"][0]["host"] = self._host or config["servers"][0]["host"]
        for wallet in config["wallets"]:
            wallet["electrum"] = [self._electrum.get(wallet["symbol"], wallet["electrum"][0])]
        self._file.write_text(tomlkit.dumps(config))

    async def saw(self, event: str, *, after: int = 0, **members: object) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        seen = after

        async def said() -> bool:
            nonlocal seen
            rows = self._new_rows()
            found.extend(row for row in rows[seen:] if {"event": event, **members}.items() <= row.items())
            seen = len(rows)
            return bool(found)

        await self._until(said, f"{event} {members}")
        return found[0]

    def so_far(self) -> int:
        return len(self._new_rows())

    def said(self, event: str, **members: object) -> bool:
        """Whether it has told of such an event already."""
        return any({"event": event, **members}.items() <= row.items() for row in self._new_rows())

    async def account_id(self) -> bytes:
        return bytes.fromhex((await self.ask("/status", StatusView)).venues[0].account_id)

    async def until_settled(self) -> None:
        async def free() -> bool:
            return all(each.total == each.available + each.bonded for each in (await self.wallets()).values())

        await self._after_news(free, "settled wallets")

    async def until_wallet(self, symbol: str, **members: int) -> None:
        async def holds() -> bool:
            wallet = (await self.wallets())[symbol]
            return all(getattr(wallet, name) == value for name, value in members.items())

        await self._after_news(holds, f"{symbol} wallet with {members}")

    async def until_venue(self, holds: Callable[[VenueView], bool]) -> None:
        async def seen() -> bool:
            return all(holds(venue) for venue in (await self.ask("/status", StatusView)).venues)

        await self._after_news(seen, "account at the exchange")

    async def _after_news(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Asking costs it something, so it is asked again only after it has told something new."""
        seen = -1

        async def look() -> bool:
            nonlocal seen
            told = len(self._new_rows())
            if told == seen:
                return False
            seen = told
            return await holds()

        await self._until(look, what)

    async def _until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        async def look() -> bool:
            await asyncio.sleep(0.05)
            return await holds()

        await self.process.until(look, PATIENCE, what)

    def _log(self) -> list[str]:
        return [""] * len(self._new_rows())

    def _new_rows(self) -> list[dict[str, Any]]:
        """A row for each line of its log, {} for one that is no event; read once."""
        log = self._exchange.folder / "logs" / f"{self.name}.log"
        if log.exists():
            with log.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
            # A line that is still being written is left for the next look.
            end = text.rfind(b"\n") + 1
            self._offset += end
            self._rows += [json.loads(line) if line.startswith(b"{") else {} for line in text[:end].splitlines()]
        return self._rows


# Rogues --------------------------------------------------------------------------------------------------------------

Withheld = Literal["address", "contract", "redeem", "refund", "report"]
"""What is kept from the chains; but "address" and "report" (that it redeemed) are kept from the exchange."""


class Rogue:
    """A trader that does everything as the client does, but for what it withholds. Use as a context."""

    def __init__(self, exchange: Exchange, name: str, *withholds: Withheld) -> None:
        self.name = name
        self.withholds = set(withholds)
        config = traders.configuration(exchange, name)
        initialize(config, traders.PASSWORD, entropy=SystemEntropy(), cost=traders.CHEAP)
        self.trader = Trader(
            config,
            traders.PASSWORD,
            clock=exchange.clock,
            entropy=SystemEntropy(),
            open_chain=self._open_chain,
            dialer=self._dialer,
        )
        self._exchange = exchange
        self._events: list[dict[str, Any]] = []
        self._news = asyncio.Condition()

    async def enter(self, atoms: dict[str, int]) -> None:
        """Live, with money, a bond and an account."""
        trader = self.trader
        await trader.connected()
        await traders.fund(self._exchange, trader, atoms)
        for symbol, amount in atoms.items():
            await traders.until_balance(trader, symbol, lambda balance, amount=amount: balance.available == amount)  # type: ignore[misc]
        await trader.register(self._exchange.plan.quote)
        await traders.until(trader, lambda: traders.may_trade(trader))
        await self.until_settled()

    async def order(self, side: Literal["buy", "sell"], quantity: int, rate: int) -> Any:
        order = await self.trader.limit(self._exchange.plan.market, Side[side.upper()], quantity, rate)
        return _Placed(order.order_id.hex())

    async def saw(self, event: str, *, after: int = 0, **members: object) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next(
                (row for row in self._events[after:] if {"event": event, **members}.items() <= row.items()), None
            )

        async with asyncio.timeout(PATIENCE), self._news:
            while (row := found()) is None:
                await self._news.wait()
        return row

    def so_far(self) -> int:
        return len(self._events)

    async def totals(self) -> dict[str, int]:
        return {symbol: side.wallet.balance().total for symbol, side in self.trader.coins.items()}

    async def until_settled(self) -> None:
        async with asyncio.timeout(PATIENCE):
            for symbol in self.trader.coins:
                await traders.until_balance(self.trader, symbol, traders.settled)

    async def account_id(self) -> bytes:
        account = self.trader.venue().desk.account
        assert account is not None
        return account.account_id

    async def start(self) -> None:
        """Rogues stay; see `__aenter__`."""
        raise NotImplementedError

    async def kill(self) -> None:
        """Rogues stay; see `__aexit__`."""
        raise NotImplementedError

    def swap(self, match_id: str) -> SwapRecord:
        return next(swap for swap in self.trader.swaps() if swap.match_id.hex() == match_id)

    async def __aenter__(self) -> Rogue:
        await self.trader.__aenter__()
        self._listening = asyncio.create_task(self._listen(self.trader.events()))
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self.trader.__aexit__(None, None, None)

    async def _listen(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            async with self._news:
                self._events.append(msgspec.to_builtins(event))
                self._news.notify_all()

    # The seams through which it misbehaves

    def _open_chain(self, coin: Coin, wallet: WalletConfig) -> ChainView:
        view = _ReticentView(coin, wallet.electrum, clock=self._exchange.clock, entropy=SystemEntropy())
        view.withheld = self._withheld
        return view

    def _withheld(self, raw: bytes) -> bool:
        kinds = {"contract": "own_tx", "redeem": "redeem_tx", "refund": "refund_tx"}
        return any(
            getattr(swap, kinds[kind]) == raw for kind in self.withholds & kinds.keys() for swap in self.trader.swaps()
        )

    def _dialer(self, server: ServerConfig) -> Dialer:
        dial = websocket_dialer(server)

        async def reticent() -> Link:
            return _ReticentLink(await dial(), self.withholds)

        return reticent


class _Placed(msgspec.Struct):
    id: str


class _ReticentView(ChainView):
    """Broadcasts nothing that is withheld."""

    withheld: Callable[[bytes], bool]

    async def broadcast(self, raw: bytes) -> str:
        if self.withheld(raw):
            raise UnavailableError(f"{Tx.parse(raw).txid[:16]} is withheld")
        return await super().broadcast(raw)


class _ReticentLink:
    """Keeps the answers to `match`, with the address in them, or every `redeem`, while they are withheld."""

    def __init__(self, link: Link, withholds: set[Withheld]) -> None:
        self._link = link
        self._withholds = withholds
        self._matches: set[int] = set()

    async def send(self, frame: bytes) -> None:
        message = envelope.decode_frame(frame)
        answers = message.type is MessageType.RESPONSE and message.id in self._matches
        withheld = "address" if answers else "report" if message.route == REDEEM.name else ""
        if withheld not in self._withholds:
            await self._link.send(frame)

    async def receive(self) -> bytes:
        frame = await self._link.receive()
        message = envelope.decode_frame(frame)
        if message.type is MessageType.REQUEST and message.route == MATCH.name:
            self._matches.add(message.id)
        return frame

    async def close(self) -> None:
        await self._link.close()
