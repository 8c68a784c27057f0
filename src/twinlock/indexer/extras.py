"""Handlers beyond protocol 1.6: the draft of 1.7, and what other servers offer and wallets find useful.

Offered at every version; no wallet objects to a method that it does not know of.
"""

from __future__ import annotations

from collections.abc import Awaitable
from hashlib import sha256
from inspect import isawaitable
from typing import Any

from twinlock.indexer import handlers, outpoints
from twinlock.indexer.caller import Caller
from twinlock.indexer.daemon import DaemonError
from twinlock.indexer.methods import bad_request

Script = tuple[str, bytes]
SCRIPTPUBKEY = "blockchain.scriptpubkey.subscribe"
OUTPOINT = "blockchain.outpoint.subscribe"

_RECENT = 10


# -- scripts


def spk_history(session: Caller, script: Script) -> Any:
    return _member("history", handlers.get_history(session, script, 0, -1))


def _member(name: str, answer: Any) -> Any:
    """An object with the answer in it; later, where the answer comes later."""
    return _member_later(name, answer) if isawaitable(answer) else {name: answer}


async def _member_later(name: str, answer: Awaitable[Any]) -> dict[str, Any]:
    return {name: await answer}


def spk_mempool(session: Caller, script: Script) -> dict[str, Any]:
    return {"history": session.view.unconfirmed(script[1])}


def spk_unspent(session: Caller, script: Script) -> Any:
    return _member("utxos", handlers.list_unspent(session, script))


def spk_subscribe(session: Caller, script: Script) -> Any:
    return handlers.subscribe_as(SCRIPTPUBKEY, session, script)


def spk_unsubscribe(session: Caller, script: Script) -> bool:
    return session.subscriptions.unwatch(SCRIPTPUBKEY, script[0])


def get_status(session: Caller, script: Script) -> Any:
    return handlers.status_soon(session, script[1])


def first_use(session: Caller, script: Script) -> dict[str, Any] | None:
    rows = session.view.index.history(script[1], most=1)
    if rows:
        tx_hash, height = rows[0]
        block = session.view.index.block_hash(height)[::-1].hex()
        return {"block_hash": block, "height": height, "tx_hash": tx_hash[::-1].hex()}
    waiting = session.view.unconfirmed(script[1])
    return {"block_hash": "0" * 64, "height": 0, "tx_hash": waiting[0]["tx_hash"]} if waiting else None


# -- headers and transactions


def header_get(session: Caller, block: int | str) -> Any:
    if isinstance(block, str):
        return _header_of(session, block)
    if block > session.view.index.height:
        raise bad_request(f"height {block:,d} out of range")
    return _header_at(session, block)


def _header_at(session: Caller, height: int) -> dict[str, Any]:
    return {"height": height, "hex": session.view.index.header(height).hex()}


async def _header_of(session: Caller, block: str) -> dict[str, Any]:
    """The node knows a block's height; whether it is in the chain that we tell of, we know."""
    index = session.view.index
    try:
        height = int((await session.daemon.call("getblockheader", block))["height"])
    except DaemonError:
        height = -1
    if not 0 <= height <= index.height or index.block_hash(height)[::-1].hex() != block:
        raise bad_request(f"no block {block}")
    return _header_at(session, height)


def headers_unsubscribe(session: Caller) -> bool:
    return session.follow_headers(False)


def confirmed_blockhash(session: Caller, tx_hash: str, include_header: bool) -> dict[str, Any]:
    place = session.view.index.find(bytes.fromhex(tx_hash)[::-1])
    if place is None:
        raise bad_request(f"tx {tx_hash} is not confirmed")
    block = session.view.index.block_hash(place.height)[::-1].hex()
    answer: dict[str, Any] = {"block_hash": block, "block_height": place.height}
    return answer | ({"block_header": session.view.index.header(place.height).hex()} if include_header else {})


async def test_accept(session: Caller, raw_txs: list[str]) -> list[dict[str, Any]]:
    rows = await session.daemon.call("testmempoolaccept", raw_txs)
    wanted = {"txid": "txid", "wtxid": "wtxid", "allowed": "allowed", "reject-reason": "reason"}
    return [{ours: row[theirs] for theirs, ours in wanted.items() if theirs in row} for row in rows]


def recent(session: Caller) -> list[dict[str, Any]]:
    newest = session.view.mempool.newest(_RECENT)
    return [{"txid": tx.hash[::-1].hex(), "fee": tx.fee, "vsize": tx.vsize} for tx in newest]


# -- outpoints


async def utxo_info(session: Caller, tx_hash: str, out_n: int) -> dict[str, Any] | None:
    key, mempool, index = bytes.fromhex(tx_hash)[::-1], session.view.mempool, session.view.index
    place = index.find(key)
    if mempool.spender(key, out_n) or (place is None and key not in mempool.txs):
        return None
    if place and index.output(key, out_n) is None:
        return None
    tx = await outpoints.transaction(session.view, session.daemon, key, place)
    if out_n >= len(tx.outputs):
        return None
    value, script = tx.outputs[out_n]
    answer = {"scripthash": sha256(script).digest()[::-1].hex(), "value": value}
    return answer | ({"confirmed_height": place.height} if place else {})


async def outpoint_status(
    session: Caller,
    tx_hash: str,
    txout_idx: int,
    spk_hint: Script | None,  # noqa: ARG001  the transaction is found without it
) -> dict[str, Any]:
    key = bytes.fromhex(tx_hash)[::-1]
    return await outpoints.status(session.view, session.daemon, key, txout_idx, session.charge)


async def outpoint_subscribe(session: Caller, tx_hash: str, txout_idx: int, spk_hint: Script | None) -> dict[str, Any]:
    key = bytes.fromhex(tx_hash)[::-1]
    view, daemon = session.view, session.daemon
    script = await outpoints.script_of(view, daemon, key, txout_idx) or (spk_hint[1] if spk_hint else None)
    if script is None:
        raise bad_request("spk_hint is needed for an output that does not exist yet")
    status = await outpoints.status(view, daemon, key, txout_idx, session.charge)
    session.subscriptions.watch(OUTPOINT, f"{tx_hash}:{txout_idx}", script, status, (key, txout_idx))
    return status


def outpoint_unsubscribe(session: Caller, tx_hash: str, txout_idx: int) -> bool:
    return session.subscriptions.unwatch(OUTPOINT, f"{tx_hash}:{txout_idx}")
