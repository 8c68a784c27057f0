"""What the two chains show of a match, as facts. Asking twice gives the same facts; a failing server gives none."""

from __future__ import annotations

import asyncio

from twinlock.client.desk import CoinSide, Desk
from twinlock.client.store.records import SwapRecord
from twinlock.errors import TwinlockError
from twinlock.protocol.swap import Party
from twinlock.protocol.swap.events import ChainTime, Seen, Spent, Vanished


async def observe(desk: Desk, record: SwapRecord) -> list[object]:
    """The facts of both legs. A chain that cannot be asked adds nothing, and lets the other one not wait for it."""
    maker, taker = await asyncio.gather(*(_facts_of(desk, record, party) for party in Party))
    return maker + taker


async def _facts_of(desk: Desk, record: SwapRecord, party: Party) -> list[object]:
    try:
        return await observe_leg(desk, record, party)
    except TwinlockError as error:
        desk.notice(f"match {record.match_id.hex()[:16]}: {party.name.lower()}'s chain: {error}", "warning")
        return []


async def observe_leg(desk: Desk, record: SwapRecord, party: Party) -> list[object]:
    """The facts of one leg. Raises what the chain raises."""
    own = party is record.party
    chain_side = desk.coin(record.own_asset if own else record.other_asset)
    tip = await chain_side.chain.tip()
    facts: list[object] = [ChainTime(party, tip.median_time)]
    leg = record.swap.legs[party]
    if not leg.known or not leg.sound:
        return facts
    family = chain_side.family
    point = family.parse_coin_id(leg.coin_id)
    output = await chain_side.chain.output_status(point, family.contract_script(leg.contract))
    if output is None:
        facts.append(await _absent(record, party, chain_side))
    elif output.spender is None:
        facts.append(Seen(party, output.confirmations, desk.clock.now_ms()))
    else:
        depth = 0 if output.spender_height is None else tip.height - output.spender_height + 1
        facts.append(await _read_spender(record, party, chain_side, output.spender, depth))
    return facts


async def _read_spender(record: SwapRecord, party: Party, chain_side: CoinSide, txid: str, depth: int) -> Spent:
    """A contract is spent with its secret or by its refund; there is no third way."""
    family, leg = chain_side.family, record.swap.legs[party]
    point = family.parse_coin_id(leg.coin_id)
    raw = await chain_side.chain.raw_transaction(txid)
    secret = family.find_secret(raw, point, record.swap.secret_hash)
    if secret is None:
        return Spent(party, depth, refund=True)
    return Spent(party, depth, secret=secret, coin_id=family.coin_id(txid, family.inputs(raw).index(point)))


async def _absent(record: SwapRecord, party: Party, chain_side: CoinSide) -> Vanished:
    """Not shown. Ours never will be if another transaction has spent one of its inputs for good."""
    if party is not record.party or not record.own_tx:
        return Vanished(party)
    ours = chain_side.family.tx_id(record.own_tx)
    for point in chain_side.family.inputs(record.own_tx):
        funding = await chain_side.chain.output(point)
        if funding is not None and funding.spender_height is not None and funding.spender != ours:
            return Vanished(party, doomed=True)
    return Vanished(party)
