"""What became of one output: found in the history of its script, and proven no further than needed.

A script may be anybody's, a busy exchange's for instance, so the effort is bounded: only the output's own transaction
and the one that spends it are proven, and the search for the latter ends after `SEARCH_MAX` transactions.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from twinlock.chain.terms import CoinPoint

from .errors import ElectrumError, LyingServerError, ServerError, UnknownTransactionError
from .histories import Batcher, Histories
from .methods import HistoryItem
from .states import OutputStatus

SEARCH_BATCH = 25
"""Transactions looked through at once for the one that spends an output."""

SEARCH_MAX = 2000
"""Transactions looked through at most, 500 kB of usual ones."""

LONG = 50
"""Entries from which on the list of unspent outputs is asked first, which may spare the search."""


async def output_status(histories: Histories, asker: Batcher, point: CoinPoint, script: bytes) -> OutputStatus | None:
    """None where no such output pays the script, or its transaction is gone.

    Raises ElectrumError (``electrum.busy_script``) for an output that is spent among too many transactions.
    """
    try:
        return await _look(histories, asker, point, script)
    except UnknownTransactionError:
        pass  # it may have left the mempool after the history was told
    try:
        return await _look(histories, asker, point, script)
    except UnknownTransactionError as error:
        raise LyingServerError("history", "a history names a transaction that its server does not have") from error


async def proven_status(histories: Histories, asker: Batcher, point: CoinPoint, script: bytes) -> OutputStatus | None:
    """The part of it that a server proves in blocks that we follow already; None where it proves nothing."""
    try:
        status = await _look(histories, asker, point, script, follow=False)
    except (LyingServerError, ServerError):
        return None
    if status is None or status.height is None:
        return None
    return status if status.spender_height is not None else msgspec.structs.replace(status, spender=None)


async def _look(
    histories: Histories, asker: Batcher, point: CoinPoint, script: bytes, *, follow: bool = True
) -> OutputStatus | None:
    items = await histories.items(asker, script)
    place = next((i for i, item in enumerate(items) if item.tx_hash == point.txid), None)
    if place is None:
        return None
    tx = (await histories.transactions(asker, [point.txid]))[point.txid]
    if point.index >= len(tx.outputs) or tx.outputs[point.index].script != script:
        return None
    entry = items[place]
    # A spender never stands before the transaction that it spends, except in the order of the mempool.
    spender = await _spender(histories, asker, point, script, items[place if entry.height > 0 else 0 :])
    await histories.prove(asker, [item for item in (entry, spender) if item is not None], follow=follow)
    height = entry.height if entry.height > 0 else None
    depth = histories.depth(height)
    status = OutputStatus(point, script, tx.outputs[point.index].value, height, depth, coinbase=tx.is_coinbase)
    if spender is None:
        return status
    spent_at = spender.height if spender.height > 0 else None
    return msgspec.structs.replace(status, spender=spender.tx_hash, spender_height=spent_at)


async def _spender(
    histories: Histories, asker: Batcher, point: CoinPoint, script: bytes, items: Sequence[HistoryItem]
) -> HistoryItem | None:
    if len(items) > LONG and any(each.point == point for each in await histories.unspent(asker, script, {point})):
        return None
    for start in range(0, min(len(items), SEARCH_MAX), SEARCH_BATCH):
        some = items[start : start + SEARCH_BATCH]
        transactions = await histories.transactions(asker, [item.tx_hash for item in some])
        for item in some:
            if any(txin.point == point for txin in transactions[item.tx_hash].inputs):
                return item
    if len(items) > SEARCH_MAX:
        raise ElectrumError(
            f"{point} is spent among more than {SEARCH_MAX} transactions of its script",
            code="electrum.busy_script",
            fault="peer",
            numbers={"entries": len(items)},
            fix="Use a coin at an address of its own.",
        )
    return None
