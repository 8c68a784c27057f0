"""A bond that the server counts and an empty disk does not know: which key of ours takes it back?"""

from __future__ import annotations

import asyncio

from twinlock.client.desk import CoinSide, Desk
from twinlock.client.store.records import BondRecord
from twinlock.protocol.constants import BOND_RECOVERY_INDICES
from twinlock.protocol.messages.account import ActiveBond


async def recognise(desk: Desk, side: CoinSide, stranger: ActiveBond) -> BondRecord | None:
    """Its record, from the chain (protocol section 4.4); None where no key of the seed fits. Raises chain errors."""
    raw = await side.chain.raw_transaction(side.family.parse_coin_id(stranger.coin_id).txid)
    terms = side.family.parse_bond_tx(raw)
    index = await _key_index(desk, side, stranger.asset_id, terms.pubkey_hash)
    if index is None:
        return None
    return BondRecord(
        host=desk.host,
        asset_id=stranger.asset_id,
        version=stranger.version,
        index=index,
        amount=terms.amount,
        lock_time=terms.lock_time,
        coin_id=bytes(stranger.coin_id),
        script=terms.script,
        raw_tx=raw,
        needed=0,
        strength=stranger.strength,
        state="posted",
    )


async def _key_index(desk: Desk, side: CoinSide, asset_id: int, pubkey_hash: bytes) -> int | None:
    for index in range(BOND_RECOVERY_INDICES):
        if side.family.pubkey_hash(desk.keys.bond_key(asset_id, index).public) == pubkey_hash:
            return index
        if index % 100 == 0:
            await asyncio.sleep(0)  # The search is long work; let others in.
    return None
