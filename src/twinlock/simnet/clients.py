"""Traders as processes of their own (`twinlock client run`), for stories in which they crash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import tomlkit

from twinlock.client.config import load
from twinlock.client.control.remote import daemon
from twinlock.client.control.requests import PlaceOrder, PostBondRequest
from twinlock.client.control.views import (
    BondView,
    OrderView,
    StatusView,
    SwapView,
    VenueView,
    WalletView,
)
from twinlock.client.seed import required
from twinlock.client.store import SqliteStore
from twinlock.client.trader import initialize
from twinlock.seams import Entropy, SystemEntropy
from twinlock.simnet import traders
from twinlock.simnet.exchange import Exchange
from twinlock.simnet.processes import Process
from twinlock.simnet.services import TWINLOCK

T = TypeVar("T")

PATIENCE = 240.0
"""Seconds that anything of a client may take on a machine that does much else."""


class Client:
    """One trader. Its folder outlives the process, so that it can be killed and started again."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self.name = name
        self.process: Process
        self._exchange = exchange
        self._folder = exchange.folder / name
        self._file = exchange.folder / f"{name}.toml"
        self._password = exchange.folder / f"{name}.password"

    def prepare(self, entropy: Entropy) -> None:
        """Write its configuration and make its seed."""
        config = traders.configuration(self._exchange, self.name)
        self._file.write_text(tomlkit.dumps(msgspec.to_builtins(config)))
        self._password.write_text(traders.PASSWORD)
        initialize(config, traders.PASSWORD, entropy=entropy, cost=traders.CHEAP)

    async def start(self) -> None:
        """Run it, until it is connected to the exchange."""
        settings = ("--config", self._file, "--password-file", self._password, "--json")
        seen = len(self._log())
        command: list[str | Path] = [*TWINLOCK, "client", *settings, "run"]
        self.process = await self._exchange.processes.start(self.name, command)
        await self.saw("ready", after=seen)

    async def kill(self) -> None:
        """kill -9."""
        await self.process.kill()

    async def restart(self) -> None:
        """kill -9 and start again."""
        await self.kill()
        await self.start()

    # Towers and lost disks ---------------------------------------------------------------------------------

    def watched_by(self, url: str, key_file: Path) -> None:
        """From the next start on, leave every swap with the tower there."""
        config = tomlkit.parse(self._file.read_text())
        config["tower"] = {"url": url, "key_file": str(key_file)}
        self._file.write_text(tomlkit.dumps(config))

    def lose_disk(self) -> Path:
        """A killed client's folder is gone; what is left is the file with the words that somebody had written down."""
        words = self._folder.with_suffix(".words")
        store = SqliteStore(self._folder, traders.PASSWORD, SystemEntropy())
        try:
            words.write_text(required(store).words)
        finally:
            store.close()
        shutil.rmtree(self._folder)
        return words

    @property
    def recovery_file(self) -> Path:
        """Where its recovery file is, while it has a disk."""
        return self._folder / "recovery.twinlock"

    async def recover(self, words: Path, *arguments: str | Path) -> Process:
        """Run `twinlock client recover`; its report is the last line of its log."""
        settings = ("--config", self._file, "--password-file", self._password, "--json")
        command = [*TWINLOCK, "client", *settings, "recover", "--words-file", words, *arguments]
        return await self._exchange.processes.start(f"{self.name}-recover", command)

    async def prove(self, match_id: str, file: Path) -> Process:
        """Run `twinlock proof export` with the running client's help."""
        settings = ("--config", self._file, "--password-file", self._password, "--json")
        command: list[str | Path] = [*TWINLOCK, "proof", "export", *settings, match_id, file]
        return await self._exchange.processes.start(f"{self.name}-proof", command)

    # What it says ------------------------------------------------------------------------------------------

    async def saw(self, event: str, *, after: int = 0, **members: object) -> dict[str, Any]:
        """The first event of that name with these members, once it is there; `after` skips so many lines of the log."""
        found: list[dict[str, Any]] = []

        async def said() -> bool:
            for line in self._log()[after:]:
                row = json.loads(line) if line.startswith("{") else {}
                if {"event": event, **members}.items() <= row.items():
                    found.append(row)
            return bool(found)

        await self.process.until(said, PATIENCE, f"{event} {members}")
        return found[0]

    def _log(self) -> list[str]:
        log = self._exchange.folder / "logs" / f"{self.name}.log"
        # A line that is still being written is left for the next look.
        return log.read_text().split("\n")[:-1] if log.exists() else []

    # What it is asked --------------------------------------------------------------------------------------

    async def ask(self, path: str, kind: type[T], body: object = None) -> T:
        """A question to its control interface; with a body it is an order."""
        async with daemon(load(self._file)) as remote:
            return await (remote.get(path, kind) if body is None else remote.post(path, kind, body))

    async def wallets(self) -> dict[str, WalletView]:
        """By coin symbol."""
        return {wallet.asset: wallet for wallet in await self.ask("/wallets", list[WalletView])}

    async def totals(self) -> dict[str, int]:
        """Atoms of each coin, all of them."""
        return {symbol: wallet.total for symbol, wallet in (await self.wallets()).items()}

    async def swaps(self) -> list[SwapView]:
        """Oldest first."""
        return await self.ask("/swaps", list[SwapView])

    async def order(self, side: Literal["buy", "sell"], quantity: int, rate: int) -> OrderView:
        """Place a standing limit order. quantity: base atoms; rate: message-rate."""
        market = self._exchange.plan.market
        return await self.ask("/orders", OrderView, PlaceOrder(market=market, side=side, quantity=quantity, rate=rate))

    # Becoming a trader -------------------------------------------------------------------------------------

    async def enter(self, atoms: dict[str, int]) -> None:
        """Money, a bond, an account: everything up to the first order. Somebody must be mining."""
        for symbol, amount in atoms.items():
            new = f"/wallets/{symbol}/address"
            addresses = [(await self.ask(new, dict[str, str], {}))["address"] for _ in range(traders.PIECES)]
            await traders.pay(self._exchange, symbol, addresses, amount // traders.PIECES)
        for symbol, amount in atoms.items():
            await self.until_wallet(symbol, available=amount)
        await self.ask("/bonds", BondView, PostBondRequest(asset=self._exchange.plan.quote))
        await self.until_venue(lambda venue: venue.account_id != "" and venue.tier >= 1)
        await self.until_settled()

    async def until_wallet(self, symbol: str, **members: int) -> None:
        """Return when the wallet shows these numbers."""

        async def holds() -> bool:
            wallet = (await self.wallets())[symbol]
            return all(getattr(wallet, name) == value for name, value in members.items())

        await self.process.until(holds, PATIENCE, f"{symbol} wallet with {members}")

    async def until_settled(self) -> None:
        """Return when everything that is not in a bond is free to be spent, in every wallet."""

        async def free() -> bool:
            return all(each.total == each.available + each.bonded for each in (await self.wallets()).values())

        await self.process.until(free, PATIENCE, "settled wallets")

    async def until_venue(self, holds: Callable[[VenueView], bool]) -> None:
        """Return when the exchange, as the client sees it, is as wanted."""

        async def seen() -> bool:
            status = await self.ask("/status", StatusView)
            return all(holds(venue) for venue in status.venues)

        await self.process.until(seen, PATIENCE, "account at the exchange")
