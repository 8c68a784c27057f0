"""Outputs that the wallet paid into scripts which nothing found so far explains: perhaps contracts of lost swaps."""

from __future__ import annotations

import msgspec

from twinlock.chain import script
from twinlock.chain.script import Kind
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx
from twinlock.client.desk import CoinSide


class LooseView(msgspec.Struct, frozen=True):
    """An unspent output. amount: atoms."""

    asset: str
    coin: str
    amount: int


async def find_loose(side: CoinSide) -> list[LooseView]:
    """Unspent script outputs of the wallet's own transactions that are no stake of ours. Raises what the chain raises.

    A payment to somebody else's script address looks the same: only the recovery file, or the owner, can tell.
    """
    known = {stake.coin_id for stake in side.wallet.stakes()}
    found = []
    for payment in side.wallet.history():
        if payment.net >= 0:
            continue
        tx = Tx.parse(await side.chain.raw_transaction(payment.txid))
        for index, out in enumerate(tx.outputs):
            coin_id = side.family.coin_id(payment.txid, index)
            if coin_id in known or script.kind(out.script) not in (Kind.P2WSH, Kind.P2SH):
                continue
            status = await side.chain.output_status(CoinPoint(tx.hash, index), out.script)
            if status is not None and status.unspent:
                found.append(LooseView(side.coin.symbol, side.family.coin_id_text(coin_id), out.value))
    return found
