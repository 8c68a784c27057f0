"""Handlers about transactions: given to the node, asked for, and proven to be in their blocks."""

from __future__ import annotations

from typing import Any

import msgspec

from twinlock.indexer.caller import Caller
from twinlock.indexer.daemon import DaemonError, unhex
from twinlock.indexer.methods import DAEMON_ERROR, RpcError, bad_request
from twinlock.kernels.scan import scan_tx
from twinlock.kernels.scan import tx_hash as kernel_tx_hash

_PER_HASH = 0.0001
"""What each transaction of a block adds to the cost of a proof."""


async def broadcast(session: Caller, raw_tx: str) -> str:
    try:
        txid: str = await session.daemon.call("sendrawtransaction", raw_tx)
    except DaemonError as error:
        raise bad_request(
            f"the transaction was rejected by network rules.\n\n{error}\n[{raw_tx}]",
        ) from error
    # A wallet's own payment is in its view before it is told of success.
    await session.shared.follower.take_in(txid)
    return txid


async def broadcast_package(session: Caller, raw_txs: list[str], verbose: bool) -> Any:
    try:
        raw = await session.daemon.raw("submitpackage", raw_txs)
    except DaemonError as error:
        raise bad_request(f"the tx package was rejected by network rules.\n\n{error}") from error
    reply = msgspec.json.decode(raw)
    results = reply.get("tx-results", {}).values()
    for result in results:
        if "error" not in result:
            await session.shared.follower.take_in(result["txid"])
    if verbose:
        return msgspec.Raw(raw)
    errors = [{"txid": result["txid"], "error": result["error"]} for result in results if "error" in result]
    success = reply.get("package_msg") == "success"
    return {"success": True} if success else {"success": False, "errors": errors}


def transaction_get(session: Caller, tx_hash: str, verbose: bool) -> Any:
    key = bytes.fromhex(tx_hash)[::-1]
    place = session.view.index.find(key)
    if place is not None and not verbose:
        raw = session.view.raw_transaction(place)
        if raw is not None and _is_transaction(raw, key):
            return raw.hex()
    where = [session.view.index.block_hash(place.height)[::-1].hex()] if place else []
    return _transaction_from_node(session, tx_hash, verbose, where)


def _is_transaction(raw: bytes, key: bytes) -> bool:
    try:
        return kernel_tx_hash(raw) == key
    except ValueError:
        return False


def _may_be(raw: bytes, key: bytes) -> bool:
    """Whether the node's answer can be the transaction: of a sealed one the hash cannot be told."""
    try:
        tx = scan_tx(raw)
    except ValueError:
        return False
    return tx.hash == key or tx.sealed


async def _transaction_from_node(session: Caller, tx_hash: str, verbose: bool, where: list[str]) -> Any:
    try:
        answer = await session.daemon.raw("getrawtransaction", tx_hash, verbose, *where)
        if not verbose and not _may_be(unhex(msgspec.json.decode(answer)), bytes.fromhex(tx_hash)[::-1]):
            raise RpcError(DAEMON_ERROR, "daemon error: the node sent another transaction than the one asked for")
        return msgspec.Raw(answer)
    except DaemonError:
        if not where and (block := await _block_just_found(session, tx_hash)):
            return await _transaction_from_node(session, tx_hash, verbose, [block])
        raise


async def _block_just_found(session: Caller, tx_hash: str) -> str | None:
    """The block of a transaction that we tell of as unconfirmed, while the node has it in a block by now."""
    key = bytes.fromhex(tx_hash)[::-1]
    if key not in session.view.mempool.txs:
        return None
    await session.shared.follower.refresh()
    place = session.view.index.find(key)
    return session.view.index.block_hash(place.height)[::-1].hex() if place else None


def transaction_height(session: Caller, tx_hash: str) -> int | None:
    key = bytes.fromhex(tx_hash)[::-1]
    place = session.view.index.find(key)
    if place:
        return place.height
    return 0 if key in session.view.mempool.txs else None


def transaction_merkle(session: Caller, tx_hash: str, height: int | None) -> dict[str, Any]:
    place = session.view.index.find(bytes.fromhex(tx_hash)[::-1])
    if place is None or place.height != (place.height if height is None else height):
        raise bad_request(f"tx {tx_hash} not in {'a block' if height is None else f'block at height {height:,d}'}")
    height = place.height
    if session.env.limits_cost:
        session.charge(_PER_HASH * len(session.view.index.tx_hashes(height)) / 32)
    branch = session.view.merkle_branch(height, place.position)
    return {"block_height": height, "merkle": branch, "pos": place.position}


def id_from_pos(session: Caller, height: int, tx_pos: int, merkle: bool) -> Any:
    index = session.view.index
    hashes = index.tx_hashes(height) if height <= index.height else b""
    txid = hashes[32 * tx_pos : 32 * tx_pos + 32][::-1].hex()
    if not txid:
        raise bad_request(f"no tx at position {tx_pos:,d} in block at height {height:,d}")
    return {"tx_hash": txid, "merkle": session.view.merkle_branch(height, tx_pos)} if merkle else txid
