"""What a crash left half done in the wallets: signed for a bond or an order that was never stored.

Found at the start, before anything new is signed; let go once the wallet knows what is on its chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from twinlock.client.desk import CoinSide
from twinlock.client.store.records import BondRecord
from twinlock.client.wallet import Wallet
from twinlock.client.wallet.errors import WalletError
from twinlock.client.wallet.light import BOND, SPLIT


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
