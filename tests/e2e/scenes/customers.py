"""Client processes whose configuration a story changes: other Electrum servers, other wallets, another pace."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import tomlkit
from tests.e2e.scenes.players import Daemon
from tests.e2e.scenes.stage import Stage

from twinlock.seams import Entropy
from twinlock.simnet.exchange import Exchange

Change = Callable[[dict[str, Any]], None]
"""Of the configuration, as TOML has it."""


class Customer(Daemon):
    """A client process with a configuration of its own."""

    def __init__(self, exchange: Exchange, name: str, change: Change) -> None:
        super().__init__(exchange, name)
        self._change = change

    def prepare(self, entropy: Entropy) -> None:
        super().prepare(entropy)
        config = tomllib.loads(self._file.read_text())
        self._change(config)
        self._file.write_text(tomlkit.dumps(config))

    async def noticed(self, text: str) -> None:
        """Return when a notice has told of it."""

        async def told() -> bool:
            return any(row.get("event") == "notice" and text in row["text"] for row in self._new_rows())

        await self._until(told, f"notice with {text!r}")


async def customer(stage: Stage, name: str, change: Change) -> Customer:
    """One with money, a bond and an account."""
    return await stage.entered(Customer(stage.exchange, name, change))
