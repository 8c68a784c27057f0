"""Swaps with coins in the wallets of the nodes themselves, and with coins of a cold wallet, in both roles.

A node's wallet shows the same sums as ours. A cold wallet's money comes to trade by PSBT, is paid out to its own
addresses, and what is left over afterwards is told and swept home.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.scenes.customers import Customer, customer
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import Stage
from tests.e2e.scenes.theatre import Story, Theatre, playing, wanted

from twinlock.chain import psbt_sign
from twinlock.chain.bip32 import HDKey, bip84_account
from twinlock.chain.coins import coin
from twinlock.chain.descriptor import Descriptor
from twinlock.chain.psbt import Origin, Psbt
from twinlock.client.control.requests import PostBondRequest
from twinlock.client.control.views import BondView
from twinlock.protocol.swap import Party
from twinlock.seams import SystemEntropy
from twinlock.simnet.node import COIN_ATOMS
from twinlock.simnet.traders import pay

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER
PIECES = 4
HOT = {"btc": 30_000_000, "ltc": 1_000_000_000}
"""Atoms that leave the cold wallet at a time, twice each: a bond and an order want a coin of their own."""


async def trades(scene: Scene) -> None:
    await scene.match()
    for party in Party:
        await scene.ended(party, "swapped")
    await scene.assert_books({MAKER: Fate.REDEEMED, TAKER: Fate.REDEEMED})


def pair(stage: Stage, role: Party, client: Customer, other: Any) -> Scene:
    return Scene(stage, client, other) if role is MAKER else Scene(stage, other, client)


# Node wallets --------------------------------------------------------------------------------------------------------


async def node_wallet(stage: Stage, name: str, role: Party) -> None:
    nodes, secret = stage.exchange.nodes, stage.exchange.folder / f"{name}.rpc"

    def configure(config: dict[str, Any]) -> None:
        for wallet in config["wallets"]:
            node = nodes[wallet["symbol"]]
            user, host = node.url.removeprefix("http://").split("@")
            secret.write_text(user)
            wallet |= {"kind": "node", "node": f"http://{host}/wallet/{name}", "node_secret": str(secret)}

    for node in nodes.values():
        await node.rpc("createwallet", name)
    async with stage.rogue(f"{name}-other") as other:
        client = await customer(stage, name, configure)
        await trades(pair(stage, role, client, other))
        for symbol, shown in (await client.wallets()).items():
            theirs = int(await nodes[symbol].rpc("getbalance", wallet=name) * COIN_ATOMS)
            assert shown.available == theirs, f"the {symbol} node holds {theirs}"
        await client.kill()


# Cold wallets --------------------------------------------------------------------------------------------------------


class Safe:
    """What the hardware wallet holds: one account of each coin."""

    def __init__(self) -> None:
        self._root = HDKey.from_seed(SystemEntropy().token(32))

    def configure(self, config: dict[str, Any]) -> None:
        for wallet in config["wallets"]:
            wallet |= {"kind": "cold", "descriptor": self._descriptor(wallet["symbol"])}
        config["control"]["allow_withdraw"] = True

    def sign(self, psbt: str) -> str:
        return psbt_sign.sign_with(Psbt.parse(psbt), self._root).text

    def _descriptor(self, symbol: str) -> str:
        parameters = coin(symbol, "regtest")
        path = bip84_account(parameters)
        account = self._root.derive(path).neuter()
        return Descriptor("wpkh", account, Origin(self._root.fingerprint, tuple(path))).text(parameters)


class ColdCustomer(Customer):
    """Its money lies in the safe, from which some of it is brought to trade."""

    def __init__(self, stage: Stage, name: str, safe: Safe) -> None:
        super().__init__(stage.exchange, name, safe.configure)
        self._safe = safe

    async def enter(self, atoms: dict[str, int]) -> None:
        for symbol, amount in atoms.items():
            addresses = [await self._fresh(symbol) for _ in range(PIECES)]
            await pay(self._exchange, symbol, addresses, amount // PIECES)
        for symbol, amount in atoms.items():
            await self.until_wallet(symbol, outside=amount)
            await self._deposit(symbol)
            await self._deposit(symbol)
        await self.ask("/bonds", BondView, PostBondRequest(asset=self._exchange.plan.quote))
        await self.until_venue(lambda venue: venue.account_id != "" and venue.tier >= 1)

    async def sweep(self, symbol: str) -> int:
        """Bring everything home that this computer could spend; the fee."""
        sent = await self.ask(f"/wallets/{symbol}/sweep", dict[str, Any], {})
        await self.until_wallet(symbol, available=0, unconfirmed=0, locked=0)
        return int(sent["fee"])

    async def _fresh(self, symbol: str) -> str:
        return (await self.ask(f"/wallets/{symbol}/address", dict[str, str], {}))["address"]

    async def _deposit(self, symbol: str) -> None:
        before = (await self.wallets())[symbol].available
        unsigned = await self.ask(f"/wallets/{symbol}/psbt", dict[str, str], {"amount": HOT[symbol]})
        signed = {"psbt": self._safe.sign(unsigned["psbt"])}
        await self.ask(f"/wallets/{symbol}/psbt/send", dict[str, Any], signed)
        await self.until_wallet(symbol, available=before + HOT[symbol])

    async def until_settled(self) -> None:
        async def free() -> bool:
            wallets = (await self.wallets()).values()
            return all(each.total == each.available + each.bonded + each.outside for each in wallets)

        await self._after_news(free, "settled wallets")


async def cold_wallet(stage: Stage, name: str, role: Party) -> None:
    async with stage.rogue(f"{name}-other") as other:
        client = await stage.entered(ColdCustomer(stage, name, Safe()))
        scene = pair(stage, role, client, other)
        before = await client.wallets()
        await trades(scene)
        after = await client.wallets()
        gives, gets = scene.asset(role), scene.asset(role.other)
        assert after[gets].available == before[gets].available, "what it was paid is in the safe"
        assert after[gets].outside - before[gets].outside == after[gets].total - before[gets].total > 0
        assert after[gives].outside == before[gives].outside

        await client.noticed(f"twinlock client wallet sweep {gives}")
        for symbol in (gives, gets):
            fee = await client.sweep(symbol)
            home = (await client.wallets())[symbol]
            assert home.total == after[symbol].total - fee == home.outside + home.bonded
        await client.kill()


STORIES: dict[str, Story] = {
    "maker_with_node_wallets": partial(node_wallet, role=MAKER),
    "taker_with_node_wallets": partial(node_wallet, role=TAKER),
    "maker_with_cold_wallets": partial(cold_wallet, role=MAKER),
    "taker_with_cold_wallets": partial(cold_wallet, role=TAKER),
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def theatre(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]
) -> AsyncIterator[Theatre]:
    for node in ("bitcoind", "litecoind"):
        program(node)
    names = wanted(request, __name__, STORIES)
    async with playing(tmp_path_factory.mktemp("wallets"), {name: STORIES[name] for name in names}) as theatre:
        yield theatre


@pytest.mark.parametrize("name", STORIES)
async def test_a_swap(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
