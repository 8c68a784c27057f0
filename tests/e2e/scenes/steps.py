"""Steps of a swap where a picky mint waits for the stories' word."""

from __future__ import annotations

from tests.e2e.scenes.scene import Fate, Scene

from twinlock.protocol.reputation import Outcome
from twinlock.protocol.swap import Party
from twinlock.simnet.node import COIN_ATOMS, NodeError


async def let_in_contract(scene: Scene, payer: Party) -> None:
    """That side's contract gets its block."""
    scene.stage.mint.let_in(scene.asset(payer), await scene.contract(payer))


async def let_in_everything(scene: Scene) -> None:
    """Whatever is left of the swap gets its block."""
    for payer in Party:
        await let_in_contract(scene, payer)
        scene.stage.mint.let_in_spender(scene.asset(payer), scene.contracts[payer])


async def redemption(scene: Scene, payer: Party) -> str:
    """What waits to spend that side's contract, once it does."""
    found: list[str] = []

    async def waits() -> bool:
        txid = await scene.stage.mint.spender(scene.asset(payer), scene.contracts[payer])
        found.extend([txid] if txid else [])
        return bool(found)

    await scene.stage.patiently(waits)
    return found[-1]


async def rate_waiting(scene: Scene, payer: Party) -> int:
    """What it pays, with the children that lift it, in atoms per vbyte; 0 at the moment in which it is replaced."""
    try:
        entry = await scene.stage.exchange.nodes[scene.asset(payer)].rpc(
            "getmempoolentry", await redemption(scene, payer)
        )
    except NodeError:
        return 0
    return int(entry["fees"]["descendant"] * COIN_ATOMS) // int(entry["descendantsize"])


async def contract(scene: Scene, payer: Party) -> str:
    """That side's contract, once it waits for a block."""
    txid = (await scene.contract(payer)).split(":")[0]
    await scene.stage.mint.arrived(scene.asset(payer), txid)
    return txid


async def assert_swapped(scene: Scene) -> None:
    for party in Party:
        await scene.ended(party, "swapped")
    await scene.assert_books(dict.fromkeys(Party, Fate.REDEEMED))
    await scene.assert_outcomes(maker=Outcome.SWAP_SUCCESS, taker=Outcome.SWAP_SUCCESS)
