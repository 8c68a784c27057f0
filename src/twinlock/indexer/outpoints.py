"""Outpoints: where an output stands, and what spends it: that is looked for among the transactions of its script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from twinlock.indexer.daemon import NodeCalls
from twinlock.indexer.mempool import Mempool
from twinlock.indexer.methods import HISTORY_TOO_LARGE, RpcError
from twinlock.indexer.storage.seam import Place
from twinlock.indexer.view import View
from twinlock.kernels.scan import ScannedTx, hashx, scan_tx

_AT_ONCE = 16
_SEARCHED = 10_000
"""Transactions of a script that are looked through for the one that spends an output."""

_PER_LOOK = 0.01
"""What each of them adds to the cost of a question."""

_TRIES = 5


Charge = Callable[[float], None]
"""Receives what a search costs before it is made; may raise RpcError."""


async def status(view: View, daemon: NodeCalls, key: bytes, vout: int, charge: Charge) -> dict[str, Any]:
    """What is known of an outpoint: {} when it does not exist, its height, and what spends it."""
    for _ in range(_TRIES):
        before = view.revision
        known = await _status_once(view, daemon, key, vout, charge)
        if view.revision == before:
            break  # else chain or mempool changed while the node was asked
    return known


async def _status_once(view: View, daemon: NodeCalls, key: bytes, vout: int, charge: Charge) -> dict[str, Any]:
    mempool, index = view.mempool, view.index
    place = index.find(key)
    if place is None and (key not in mempool.txs or vout not in mempool.txs[key].outputs):
        return {}
    known: dict[str, Any] = {"funder_height": place.height if place else _mempool_height(mempool, key)}
    if spender := mempool.spender(key, vout):
        return known | {"spender_txhash": spender[::-1].hex(), "spender_height": _mempool_height(mempool, spender)}
    if place is None or index.output(key, vout):
        return known
    script = await script_of(view, daemon, key, vout)
    if script is None:
        return {}
    found = await _find_spender(view, daemon, key, vout, script, place.height, charge)
    return known | ({"spender_txhash": found[0][::-1].hex(), "spender_height": found[1]} if found else {})


def _mempool_height(mempool: Mempool, key: bytes) -> int:
    return mempool.height(mempool.txs[key])


async def script_of(view: View, daemon: NodeCalls, key: bytes, vout: int) -> bytes | None:
    """The hashX that an output pays."""
    output = view.index.output(key, vout)
    if output:
        return output.hashx
    if key in view.mempool.txs:
        waiting = view.mempool.txs[key].outputs.get(vout)
        return waiting.hashx if waiting else None
    place = view.index.find(key)
    tx = await transaction(view, daemon, key, place) if place else None
    return hashx(tx.outputs[vout][1]) if tx and vout < len(tx.outputs) else None


async def transaction(view: View, daemon: NodeCalls, key: bytes, place: Place | None) -> ScannedTx:
    """A transaction of the chain or, without a place, of the mempool."""
    raw = view.raw_transaction(place) if place else None
    if raw is None:
        where = [view.index.block_hash(place.height)[::-1].hex()] if place else []
        raw = bytes.fromhex(await daemon.call("getrawtransaction", key[::-1].hex(), False, *where))
    return scan_tx(raw)


async def _find_spender(
    view: View, daemon: NodeCalls, key: bytes, vout: int, script: bytes, since: int, charge: Charge
) -> tuple[bytes, int] | None:
    """Among the script's transactions, the one that spends the outpoint."""
    size = view.index.history_size(script, since)
    if size > _SEARCHED:
        raise RpcError(HISTORY_TOO_LARGE, "history too large")
    charge(_PER_LOOK * size)
    for number, (tx_hash, height) in enumerate(view.index.history(script, since)):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)  # others have their turn
        place = view.index.find(tx_hash)
        if place and (key, vout) in (await transaction(view, daemon, tx_hash, place)).inputs:
            return tx_hash, height
    return None
