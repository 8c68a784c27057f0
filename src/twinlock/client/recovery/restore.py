"""From the recovery file into a store: what the store does not know yet, and what the wallets must know of it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from twinlock.chain.coins import coin_by_id
from twinlock.chain.families import family_of
from twinlock.client.errors import ConfigError
from twinlock.client.recovery.file import Contents, RecoveryFileError
from twinlock.client.store.base import Record, Store
from twinlock.client.store.records import AccountRecord, BondRecord, OrderRecord, SwapRecord
from twinlock.client.wallet.journal import TX_LOCK, Journal


def restore(store: Store, contents: Contents, hosts: Sequence[str]) -> int:
    """Put every record that is missing, in one transaction; returns how many. What the store knows is left alone.

    Only where the store is older than the file, as a copy that was put back is, the file is believed: of swaps of
    which it knows a transaction that the store lacks, of their orders, and of the newest time of an order. A swap that
    was found with the words alone learns what its proof needs: its order, and what was signed.
    hosts: the configured servers. Raises ConfigError where a server of the file is not among them: its swaps need a
    place, even if the server is gone for ever.
    """
    # Every bond belongs to one of the accounts, every order to one of the swaps or accounts.
    told = {account.host for account in contents.accounts} | {swap.host for swap in contents.swaps}
    unknown = told - set(hosts)
    if unknown:
        raise ConfigError(
            f"the recovery file knows servers that the configuration lacks: {', '.join(sorted(unknown))}",
            code="recovery.servers",
            fix="add them to [[servers]], even if they are gone",
        )
    records: list[Record] = [*contents.accounts, *contents.bonds, *contents.orders, *contents.swaps]
    further = {swap.key for swap in contents.swaps if _further(swap, store.get(SwapRecord, swap.key))}
    carried = {swap.order_key for swap in contents.swaps if swap.key in further}
    missing = [
        record
        for record in records
        if store.get(type(record), record.key) is None
        or (isinstance(record, SwapRecord) and record.key in further)
        or (isinstance(record, OrderRecord) and record.key in carried)
        or (isinstance(record, AccountRecord) and _later(record, store.get(AccountRecord, record.key)))
    ]
    with store.transaction():
        for record in missing:
            store.put(record)
            _tell_wallet(store, contents, record)
        return len(missing) + _restore_papers(store, contents)


def _restore_papers(store: Store, contents: Contents) -> int:
    """Also of swaps that are over; returns of how many."""
    found = 0
    for told in contents.swaps:
        known = store.get(SwapRecord, told.key)
        if known is not None and told.order_key and not known.order_key:
            store.put(replace(known, order_key=told.order_key, papers=told.papers | known.papers))
            found += 1
    return found


def _further(told: SwapRecord, known: SwapRecord | None) -> bool:
    """Whether the file knows a transaction of a swap that the store does not."""
    ours = known or told
    pairs = ((told.own_tx, ours.own_tx), (told.redeem_tx, ours.redeem_tx), (told.refund_tx, ours.refund_tx))
    return not ours.closed and any(theirs and not mine for theirs, mine in pairs)


def _later(told: AccountRecord, known: AccountRecord | None) -> bool:
    """Whether orders were placed at the account that the store does not know; no time of theirs is used again."""
    return known is not None and told.last_order_ms > known.last_order_ms


def check_network(contents: Contents, network: str) -> None:
    """Raises RecoveryFileError for a file of another network."""
    if contents.network != network:
        raise RecoveryFileError(
            f"the file is about {contents.network}, the configuration about {network}", code="recovery.network"
        )


def _tell_wallet(store: Store, contents: Contents, record: Record) -> None:
    match record:
        case BondRecord():
            journal = _journal(store, contents, record.asset_id)
            account = next((each.account_id for each in contents.accounts if each.host == record.host), b"")
            journal.stake(record.coin_id, "bond", record.script, record.lock_time, account.hex())
        case OrderRecord() if not record.funds_released:
            asset = record.base if record.side == 2 else record.quote
            for coin_id in record.funds:
                _journal(store, contents, asset).lock(coin_id, record.key)
        case SwapRecord() if record.own_tx:
            _tell_of_contract(_journal(store, contents, record.own_asset), contents, record)


def _tell_of_contract(journal: Journal, contents: Contents, record: SwapRecord) -> None:
    family = family_of(coin_by_id(record.own_asset, contents.network))
    leg, txid = record.swap.legs[record.party], family.tx_id(record.own_tx)
    lock_time = family.parse_contract(leg.contract).lock_time
    journal.stake(leg.coin_id, "swap", leg.contract, lock_time, record.match_id.hex())
    journal.keep(txid, record.own_tx, "swap", record.swap.terms.made_ms, 0)
    for point in family.inputs(record.own_tx):
        journal.lock(family.coin_id(point.txid, point.index), TX_LOCK + txid)


def _journal(store: Store, contents: Contents, asset_id: int) -> Journal:
    return Journal(store, f"{coin_by_id(asset_id, contents.network).symbol}.{contents.network}")
