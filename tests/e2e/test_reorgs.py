"""A reorganisation takes one of the four transactions of a swap out of its block, within the depth that is agreed.

In half of the stories it comes back; in the other half somebody uses the moment: who made the contract spends its
coins elsewhere, or refunds a contract that the other side has just redeemed. Blocks take a transaction of a swap only
when its story lets it in, so that each has exactly one confirmation when it is lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.scenes.cast import Cast, Play, both_sides, honest, parameters, withholding
from tests.e2e.scenes.forgery import pays, rogue
from tests.e2e.scenes.scene import Fate, Scene
from tests.e2e.scenes.stage import PLAN
from tests.e2e.scenes.steps import (
    assert_swapped,
    contract,
    let_in_contract,
    let_in_everything,
    rate_waiting,
    redemption,
)
from tests.e2e.scenes.theatre import Theatre, playing, wanted

from twinlock.protocol.swap import Party
from twinlock.simnet.node import NodeError

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

MAKER, TAKER = Party.MAKER, Party.TAKER
TWO_DEEP = replace(PLAN, confirmations=2, broadcast_timeout_ms=60_000)
Which = Callable[[], Awaitable[str]]
"""Finds a transaction that waits for a block."""

Since = Mapping[Party, int]
"""From which of each side's events on."""


# Transactions that come back -----------------------------------------------------------------------------------------


def contract_comes_back(payer: Party) -> Play:
    async def play(cast: Cast) -> None:
        scene = await cast.scene()
        await scene.match()
        if payer is TAKER:
            await let_in_contract(scene, MAKER)
        await lose(scene, payer, partial(contract, scene, payer), seen=partial(seen_contract, scene, payer))
        await let_in_everything(scene)
        await assert_swapped(scene)

    return play


def redemption_comes_back(payer: Party) -> Play:
    async def play(cast: Cast) -> None:
        scene = await cast.scene()
        await scene.match()
        for party in Party:
            await let_in_contract(scene, party)
        if payer is MAKER:
            cast.stage.mint.let_in_spender(scene.asset(TAKER), scene.contracts[TAKER])
        await lose(scene, payer, partial(redemption, scene, payer), seen=partial(seen_redemption, scene, payer))
        await let_in_everything(scene)
        await assert_swapped(scene)

    return play


# Rivals --------------------------------------------------------------------------------------------------------------


def contract_is_double_spent(payer: Party) -> Play:
    """Who made the contract has signed another payment with the same coins, and a miner takes that one instead."""

    async def play(cast: Cast) -> None:
        rogues = {payer: withholding()}
        scene = await cast.scene(rogues.get(MAKER, honest), rogues.get(TAKER, honest))
        rivals = await rivals_of(scene, payer)
        await scene.match()
        if payer is TAKER:
            await let_in_contract(scene, MAKER)
        rival = await rival_to(scene, payer, rivals)
        which, seen = partial(contract, scene, payer), partial(seen_contract, scene, payer)
        await lose(scene, payer, which, seen=seen, rival=rival)
        if payer is TAKER:
            cast.stage.mint.let_in_spender(scene.asset(MAKER), scene.contracts[MAKER])
        await scene.player(payer.other).saw("swap_step", match_id=scene.match_id, step="counterparty_swap_lost")
        await cast.stage.calendar.passed(MAKER)
        await scene.ended(payer.other, "void" if payer is MAKER else "refunded")
        await scene.assert_books({MAKER: Fate.ABSENT if payer is MAKER else Fate.REFUNDED, TAKER: Fate.ABSENT})
        await scene.assert_outcomes()

    return play


async def rivals_of(scene: Scene, payer: Party) -> dict[str, str]:
    """For each coin of the rogue, a signed payment of it back to itself (hexadecimal)."""
    wallet, found = pays(scene, payer).wallet, {}
    for coin in wallet.coins():
        if coin.state == "available":
            signed = await rogue(scene, payer).trader.wallet(scene.asset(payer)).sweep("", 20, coins=[coin.coin_id])
            wallet.abandon(signed.txid)
            found[pays(scene, payer).family.coin_id_text(coin.coin_id)] = signed.raw.hex()
    return found


async def rival_to(scene: Scene, payer: Party, rivals: dict[str, str]) -> str:
    """The payment with a coin that the contract's transaction spends."""
    node = scene.stage.exchange.nodes[scene.asset(payer)]
    tx = await node.rpc("getrawtransaction", await contract(scene, payer), True)
    rival = next(raw for spent in tx["vin"] if (raw := rivals.get(f"{spent['txid']}:{spent['vout']}")))
    scene.rivals[payer] = (await node.rpc("decoderawtransaction", rival))["txid"]
    return rival


def redemption_is_contested(payer: Party) -> Play:
    """The lock has passed when the redemption is lost; who made the contract bids a higher fee for its refund."""

    async def play(cast: Cast) -> None:
        # Who made the contract would redeem in its turn; it waits, so as to be there when the lock has passed.
        rogues = {payer: withholding("refund")}
        scene = await cast.scene(rogues.get(MAKER, honest), rogues.get(TAKER, honest))
        await scene.match()
        for party in Party:
            await let_in_contract(scene, party)
        if payer is MAKER:
            cast.stage.mint.let_in_spender(scene.asset(TAKER), scene.contracts[TAKER])
        await redemption(scene, payer)
        await cast.stage.calendar.passed(payer)
        await lose(scene, payer, partial(redemption, scene, payer), seen=partial(seen_redemption, scene, payer))
        await outbid(scene, payer)
        await let_in_everything(scene)
        await assert_swapped(scene)

    return play


async def outbid(scene: Scene, payer: Party) -> None:
    """The refund is handed to the node at thrice the redemption's fee. Where it is taken, it does not stay."""
    node, contract = scene.stage.exchange.nodes[scene.asset(payer)], scene.contracts[payer]
    side, leg = pays(scene, payer), rogue(scene, payer).swap(scene.match_id).swap.legs[payer]
    value = scene.amount(payer)
    rate = 3 * await rate_waiting(scene, payer)
    signed = await side.wallet.sign_refund(bytes.fromhex(scene.match_id), leg.contract, leg.coin_id, value, rate)
    try:
        await node.rpc("sendrawtransaction", signed.raw.hex())
    except NodeError:
        assert not side.coin.replaceable, "the redemption can be replaced on this chain"
        return

    async def answered() -> bool:
        # None: one has just taken the place of the other.
        return await scene.stage.mint.spender(node.symbol, contract) not in (None, signed.txid)

    await scene.stage.patiently(answered)
    assert await answered(), "the refund's bid was not answered"


# Steps ---------------------------------------------------------------------------------------------------------------


async def lose(
    scene: Scene, payer: Party, which: Which, *, seen: Callable[[int, Since], Awaitable[None]], rival: str = ""
) -> None:
    """A block takes the transaction; when it has been seen there, another chain without it grows longer.

    Return when it has been seen to wait again, or, if the other chain has its rival, at once.
    """
    mint, node = scene.stage.mint, scene.stage.exchange.nodes[scene.asset(payer)]
    await which()  # which may need blocks to come about
    async with mint.closed(node.symbol):
        lost = await taken(scene, node.symbol, which)
        await seen(1, dict.fromkeys(Party, 0))
        before = {party: scene.player(party).so_far() for party in Party}
        await node.invalidate(lost)
        await mint.mine(node.symbol, *([rival] if rival else []))
        await mint.mine(node.symbol)
        if not rival:
            await seen(0, before)


async def taken(scene: Scene, symbol: str, which: Which) -> str:
    """The block that takes the transaction; should it be replaced meanwhile, then its replacement."""
    mint = scene.stage.mint
    while True:
        with suppress(NodeError):
            return await mint.mine(symbol, *await mint.family(symbol, await which()))


async def seen_contract(scene: Scene, payer: Party, depth: int, since: Since) -> None:
    """Both sides have seen that side's contract so deep in the chain."""
    for party in Party:
        await step_at(scene, party, "swap_sent" if party is payer else "counterparty_swap_seen", depth, since)


async def seen_redemption(scene: Scene, payer: Party, depth: int, since: Since) -> None:
    """Whoever still follows that contract has seen its redemption so deep; a maker that is paid does not."""
    await step_at(scene, payer.other, "redeemed", depth, since)
    if payer is TAKER:
        await step_at(scene, payer, "counterparty_redeemed", depth, since)


async def step_at(scene: Scene, party: Party, step: str, depth: int, since: Since) -> None:
    player, match_id = scene.player(party), scene.match_id
    await player.saw("swap_step", after=since[party], match_id=match_id, step=step, confirmations=depth)


PLAYS: dict[str, Play] = {
    "makers_contract_comes_back": contract_comes_back(MAKER),
    "takers_contract_comes_back": contract_comes_back(TAKER),
    "makers_redemption_comes_back": redemption_comes_back(TAKER),
    "takers_redemption_comes_back": redemption_comes_back(MAKER),
    "makers_contract_is_double_spent": contract_is_double_spent(MAKER),
    "takers_contract_is_double_spent": contract_is_double_spent(TAKER),
    "makers_redemption_is_contested": redemption_is_contested(TAKER),
    "takers_redemption_is_contested": redemption_is_contested(MAKER),
}
TWICE = ("makers_redemption_is_contested", "takers_redemption_is_contested")
"""One of the two coins takes replacements, the other does not."""

STORIES = both_sides(PLAYS)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def theatre(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]
) -> AsyncIterator[Theatre]:
    for node in ("bitcoind", "litecoind"):
        program(node)
    stories = {name: STORIES[name] for name in wanted(request, __name__, STORIES)}
    async with playing(tmp_path_factory.mktemp("reorgs"), stories, TWO_DEEP, picky=True) as theatre:
        yield theatre


@pytest.mark.parametrize("name", parameters(PLAYS, TWICE))
async def test_a_reorganisation_when(theatre: Theatre, name: str) -> None:
    await theatre.ends_well(name)
