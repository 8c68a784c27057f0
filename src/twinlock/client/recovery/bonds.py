"""Bonds found on the chain alone: every one was paid by our wallet, names our key, and says so in its transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from twinlock.chain.errors import ChainError
from twinlock.chain.terms import BondTerms
from twinlock.client.desk import CoinSide
from twinlock.client.keys import TraderKeys
from twinlock.client.store.records import BondRecord

INDICES = 200
"""Bond keys that are tried for a bond of which no server tells; a trader renews a bond every month or two."""


async def find_bonds(side: CoinSide, keys: TraderKeys, hosts: Mapping[bytes, str], host: str) -> list[BondRecord]:
    """Unspent bonds of ours among the wallet's transactions.

    hosts: by account ID, the server that the account is at. host: where a bond of an unknown account is kept, so that
    somebody takes it back in time. Raises what the chain raises.
    """
    found = []
    for payment in side.wallet.history():
        if payment.net >= 0:
            continue
        raw = await side.chain.raw_transaction(payment.txid)
        try:
            terms = side.family.parse_bond_tx(raw)
        except ChainError:
            continue
        coin_id = side.family.coin_id(terms.point.txid, terms.point.index)
        status = await side.chain.output(terms.point)
        index = await _index_of(side, keys, terms)
        if index is None or status is None or status.spender is not None:
            continue
        found.append(
            BondRecord(
                host=hosts.get(terms.account_id, host),
                asset_id=side.coin.asset_id,
                version=terms.version,
                index=index,
                amount=terms.amount,
                lock_time=terms.lock_time,
                coin_id=coin_id,
                script=terms.script,
                raw_tx=raw,
                needed=0,
                # A server that counts it says so at the next login; any other bond only waits to be taken back.
                state="expired",
            )
        )
    return found


async def _index_of(side: CoinSide, keys: TraderKeys, terms: BondTerms) -> int | None:
    for index in range(INDICES):
        key = keys.bond_key(side.coin.asset_id, index)
        if side.family.pubkey_hash(key.public) == terms.pubkey_hash:
            return index
        if index % 50 == 0:
            await asyncio.sleep(0)  # The search is long work; let others in.
    return None
