"""What the server and the load generators agree on without talking: accounts, their keys and their coins."""

from __future__ import annotations

import asyncio
from hashlib import sha256

from tests.server.memory_chain import MemoryChain

from twinlock.chain.coins import Network, coin
from twinlock.chain.keys import PrivateKey
from twinlock.chain.spend import Input
from twinlock.chain.terms import CoinPoint
from twinlock.electrum.states import OutputStatus
from twinlock.protocol.account import account_id

BTC, LTC = 0, 2
LOT, RATE_STEP, RATE = 1_000_000, 100, 10_000_000
COIN_VALUE = 2 * LOT
# A question to an indexer on the same machine takes about as long.
ANSWER_S = 0.001


class Distant(MemoryChain):
    """A chain in memory that takes its time to answer."""

    async def output(self, point: CoinPoint) -> OutputStatus | None:
        await asyncio.sleep(ANSWER_S)
        return await super().output(point)


class World:
    """Accounts with so many coins each, the same in every process.

    Each account's coins are all on one chain: those of even accounts are litecoins, to sell; the others' are bitcoins.
    """

    def __init__(self, accounts: int, coins: int) -> None:
        self.keys = [PrivateKey(sha256(b"account %d" % number).digest()) for number in range(accounts)]
        self.ids = [account_id(key.public) for key in self.keys]
        symbols = {BTC: "btc", LTC: "ltc"}
        self.chains = {number: Distant(coin(symbol, Network.REGTEST)) for number, symbol in symbols.items()}
        self.coins: list[list[Input]] = []
        for number, key in enumerate(self.keys):
            chain = self.chains[self.funded_by(number)]
            self.coins.append([chain.fund(key, COIN_VALUE) for _ in range(coins)])

    @staticmethod
    def funded_by(number: int) -> int:
        """The asset that an account swaps away."""
        return BTC if number % 2 else LTC

    def address(self, number: int) -> str:
        """Where an account is paid."""
        return self.chains[LTC if number % 2 else BTC].address(self.keys[number])
