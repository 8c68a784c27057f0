"""What a crash left half done in the wallets: signed for a bond, an order or a swap that was never stored.

Found at the start, before anything new is signed. What may have been broadcast is let go once the wallet knows what is
on its chain; contracts that no swap knows were not, since swaps are stored before.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from twinlock.client.desk import CoinSide
from twinlock.client.order_funds import pays
from twinlock.client.store import Store
from twinlock.client.store.base import LIVE
from twinlock.client.store.records import BondRecord, OrderRecord, SwapRecord, coin_mark
from twinlock.client.wallet import Wallet
from twinlock.client.wallet.errors import WalletError
from twinlock.client.wallet.light import BOND, SPLIT, SWAP


def orphans(side: CoinSide, bonds: Iterable[BondRecord]) -> tuple[str, ...]:
    """IDs of signed transactions of this coin that were never broadcast and that no bond of ours is in.

    A split is broadcast before its order is sent, so the order of one that was not is unknown to every server.
    """
    mine = (bond.coin_id for bond in bonds if bond.asset_id == side.coin.asset_id)
    known = {side.family.parse_coin_id(coin_id).txid for coin_id in mine}
    return tuple(txid for txid in (*side.wallet.unsent(BOND), *side.wallet.unsent(SPLIT)) if txid not in known)


async def sweep(wallet: Wallet, txids: Iterable[str]) -> None:
    """Free their coins. One that the chain shows after all was broadcast just before the crash, and stays."""
    changes = wallet.changes()
    await anext(changes)  # The balance is told once the wallet has looked at everything.
    await changes.aclose()  # type: ignore[attr-defined]
    for txid in txids:
        with suppress(WalletError):
            wallet.abandon(txid)


def drop_unstored_contracts(side: CoinSide, store: Store) -> None:
    """Forget contracts that were signed and that no swap knows; their coins go back to the orders that they fund."""
    asset, wallet = side.coin.asset_id, side.wallet
    running = (swap for swap in store.marked(SwapRecord, LIVE) if swap.own_tx and swap.own_asset == asset)
    known = {side.family.tx_id(swap.own_tx) for swap in running}
    left = [txid for txid in wallet.unsent(SWAP) if txid not in known and not _of_a_swap(side, store, txid)]
    for txid in left:
        with suppress(WalletError):
            wallet.abandon(txid)
    for order in store.marked(OrderRecord, LIVE) if left else ():
        if not order.funds_released and pays(order) == asset:
            wallet.lock(order.funds, order.key)


def _of_a_swap(side: CoinSide, store: Store, txid: str) -> bool:
    """Whether a swap, which may be over, made its contract with it: at the first output."""
    return bool(store.marked(SwapRecord, coin_mark(side.family.coin_id(txid, 0)), most=1))
