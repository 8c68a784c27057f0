"""Handlers beyond protocol 1.6: the draft of 1.7, and what other servers offer and wallets find useful.

Offered at every version; no wallet objects to a method that it does not know of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from hashlib import sha256
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from twinlock.indexer import handlers
from twinlock.indexer.daemon import DaemonError
from twinlock.indexer.mempool import Mempool
from twinlock.indexer.methods import HISTORY_TOO_LARGE, RpcError, bad_request
from twinlock.indexer.storage.seam import Place
from twinlock.kernels.scan import ScannedTx, hashx, scan_tx

if TYPE_CHECKING:
    from twinlock.indexer.session import Session

Script = tuple[str, bytes]
SCRIPTPUBKEY = "blockchain.scriptpubkey.subscribe"
OUTPOINT = "blockchain.outpoint.subscribe"

_RECENT = 10
_AT_ONCE = 16
_SEARCHED = 10_000
"""Transactions of a script that are looked through for the one that spends an output."""


# -- scripts


def spk_history(session: Session, script: Script) -> Any:
    return _member("history", handlers.get_history(session, script, 0, -1))


def _member(name: str, answer: Any) -> Any:
    """An object with the answer in it; later, where the answer comes later."""
    return _member_later(name, answer) if isawaitable(answer) else {name: answer}


async def _member_later(name: str, answer: Awaitable[Any]) -> dict[str, Any]:
    return {name: await answer}


def spk_mempool(session: Session, script: Script) -> dict[str, Any]:
    return {"history": session.view.unconfirmed(script[1])}


def spk_unspent(session: Session, script: Script) -> Any:
    return _member("utxos", handlers.list_unspent(session, script))


def spk_subscribe(session: Session, script: Script) -> Any:
    return handlers.subscribe_as(SCRIPTPUBKEY, session, script)


def spk_unsubscribe(session: Session, script: Script) -> bool:
    return session.subscriptions.unwatch(SCRIPTPUBKEY, script[0])


def get_status(session: Session, script: Script) -> Any:
    return handlers.status_soon(session, script[1])


def first_use(session: Session, script: Script) -> dict[str, Any] | None:
    rows = session.view.index.history(script[1], most=1)
    if rows:
        tx_hash, height = rows[0]
        block = session.view.index.block_hash(height)[::-1].hex()
        return {"block_hash": block, "height": height, "tx_hash": tx_hash[::-1].hex()}
    waiting = session.view.unconfirmed(script[1])
    return {"block_hash": "0" * 64, "height": 0, "tx_hash": waiting[0]["tx_hash"]} if waiting else None


# -- headers and transactions


def header_get(session: Session, block: int | str) -> Any:
    if isinstance(block, str):
        return _header_of(session, block)
    if block > session.view.index.height:
        raise bad_request(f"height {block:,d} out of range")
    return _header_at(session, block)


def _header_at(session: Session, height: int) -> dict[str, Any]:
    return {"height": height, "hex": session.view.index.header(height).hex()}


async def _header_of(session: Session, block: str) -> dict[str, Any]:
    """The node knows a block's height; whether it is in the chain that we tell of, we know."""
    index = session.view.index
    try:
        height = int((await session.daemon.call("getblockheader", block))["height"])
    except DaemonError:
        height = -1
    if not 0 <= height <= index.height or index.block_hash(height)[::-1].hex() != block:
        raise bad_request(f"no block {block}")
    return _header_at(session, height)


def headers_unsubscribe(session: Session) -> bool:
    known = session in session.manager.header_sessions
    session.manager.header_sessions.discard(session)
    return known


def confirmed_blockhash(session: Session, tx_hash: str, include_header: bool) -> dict[str, Any]:
    place = session.view.index.find(bytes.fromhex(tx_hash)[::-1])
    if place is None:
        raise bad_request(f"tx {tx_hash} is not confirmed")
    block = session.view.index.block_hash(place.height)[::-1].hex()
    answer: dict[str, Any] = {"block_hash": block, "block_height": place.height}
    return answer | ({"block_header": session.view.index.header(place.height).hex()} if include_header else {})


async def test_accept(session: Session, raw_txs: list[str]) -> list[dict[str, Any]]:
    rows = await session.daemon.call("testmempoolaccept", raw_txs)
    wanted = {"txid": "txid", "wtxid": "wtxid", "allowed": "allowed", "reject-reason": "reason"}
    return [{ours: row[theirs] for theirs, ours in wanted.items() if theirs in row} for row in rows]


def recent(session: Session) -> list[dict[str, Any]]:
    newest = session.view.mempool.newest(_RECENT)
    return [{"txid": tx.hash[::-1].hex(), "fee": tx.fee, "vsize": tx.vsize} for tx in newest]


# -- outpoints


async def utxo_info(session: Session, tx_hash: str, out_n: int) -> dict[str, Any] | None:
    key, mempool, index = bytes.fromhex(tx_hash)[::-1], session.view.mempool, session.view.index
    place, output = index.find(key), index.output(key, out_n)
    if mempool.spender(key, out_n) or (place is None and key not in mempool.txs):
        return None
    if place and (output is None or not _is_unspent(session, key, out_n, output.hashx)):
        return None
    tx = await _transaction(session, key, place)
    if out_n >= len(tx.outputs):
        return None
    value, script = tx.outputs[out_n]
    answer = {"scripthash": sha256(script).digest()[::-1].hex(), "value": value}
    return answer | ({"confirmed_height": place.height} if place else {})


def _is_unspent(session: Session, key: bytes, vout: int, script: bytes) -> bool:
    return any(coin.tx_hash == key and coin.vout == vout for coin in session.view.index.unspent(script))


def _mempool_height(mempool: Mempool, key: bytes) -> int:
    return mempool.height(mempool.txs[key])


async def outpoint_status(session: Session, tx_hash: str, txout_idx: int, spk_hint: Script | None) -> dict[str, Any]:
    return await point_status(session, bytes.fromhex(tx_hash)[::-1], txout_idx, spk_hint[1] if spk_hint else None)


async def outpoint_subscribe(session: Session, tx_hash: str, txout_idx: int, spk_hint: Script | None) -> dict[str, Any]:
    key = bytes.fromhex(tx_hash)[::-1]
    script = spk_hint[1] if spk_hint else await _script_of(session, key, txout_idx)
    if script is None:
        raise bad_request("spk_hint is needed for an output that does not exist yet")
    status = await point_status(session, key, txout_idx, script)
    session.subscriptions.watch(OUTPOINT, f"{tx_hash}:{txout_idx}", script, status, (key, txout_idx))
    return status


def outpoint_unsubscribe(session: Session, tx_hash: str, txout_idx: int) -> bool:
    return session.subscriptions.unwatch(OUTPOINT, f"{tx_hash}:{txout_idx}")


async def point_status(session: Session, key: bytes, vout: int, script: bytes | None) -> dict[str, Any]:
    """What is known of an outpoint: {} when it does not exist, its height, and what spends it."""
    mempool, index = session.view.mempool, session.view.index
    place = index.find(key)
    if place is None and key not in mempool.txs:
        return {}
    if place is None and vout not in mempool.txs[key].outputs:
        return {}
    status: dict[str, Any] = {"funder_height": place.height if place else _mempool_height(mempool, key)}
    if spender := mempool.spender(key, vout):
        return status | {"spender_txhash": spender[::-1].hex(), "spender_height": _mempool_height(mempool, spender)}
    if place is None:
        return status
    if script is None or index.output(key, vout) is None:
        script = await _script_of(session, key, vout)
    if script is None:
        return {}
    if _is_unspent(session, key, vout, script):
        return status
    found = await _find_spender(session, key, vout, script, place.height)
    return status | ({"spender_txhash": found[0][::-1].hex(), "spender_height": found[1]} if found else {})


async def _script_of(session: Session, key: bytes, vout: int) -> bytes | None:
    """The hashX that an output pays."""
    output = session.view.index.output(key, vout)
    if output:
        return output.hashx
    if key in session.view.mempool.txs:
        waiting = session.view.mempool.txs[key].outputs.get(vout)
        return waiting.hashx if waiting else None
    place = session.view.index.find(key)
    tx = await _transaction(session, key, place) if place else None
    return hashx(tx.outputs[vout][1]) if tx and vout < len(tx.outputs) else None


async def _transaction(session: Session, key: bytes, place: Place | None) -> ScannedTx:
    raw = session.view.raw_transaction(place) if place else None
    if raw is None:
        where = [session.view.index.block_hash(place.height)[::-1].hex()] if place else []
        raw = bytes.fromhex(await session.daemon.call("getrawtransaction", key[::-1].hex(), False, *where))
    return scan_tx(raw)


async def _find_spender(session: Session, key: bytes, vout: int, script: bytes, since: int) -> tuple[bytes, int] | None:
    """Among the script's transactions, the one that spends the outpoint."""
    if session.view.index.history_size(script, since) > _SEARCHED:
        raise RpcError(HISTORY_TOO_LARGE, "history too large")
    for number, (tx_hash, height) in enumerate(session.view.index.history(script, since)):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)  # others have their turn
        place = session.view.index.find(tx_hash)
        if place and (key, vout) in (await _transaction(session, tx_hash, place)).inputs:
            return tx_hash, height
    return None
