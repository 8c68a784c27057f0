"""Coins for orders: set aside before an order is stored, split where that is asked or needed, and given back.

No coin is set aside for an order that nobody remembers: lock and record are one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from twinlock.client.desk import Desk
from twinlock.client.drafts import Draft
from twinlock.client.errors import StoreError
from twinlock.client.store import changing
from twinlock.client.store.records import OrderRecord
from twinlock.client.wallet import SignedTx
from twinlock.client.wallet.errors import ShortFundsError
from twinlock.errors import TwinlockError
from twinlock.protocol.orders import OrderType, Side

Fresh = tuple[OrderRecord, Draft]
"""An order that was not stored yet, and what was asked for."""


def pays(order: OrderRecord) -> int:
    """The asset that the order gives away."""
    return order.base if order.side == Side.SELL else order.quote


class OrderFunds:
    """The coins behind the orders at one server. What is funded is stored."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def one(self, order: OrderRecord, draft: Draft) -> None:
        """Coins that the wallet has. Raises ShortFundsError."""
        desk = self._desk
        with changing(desk.store, order):
            limit = desk.asset(draft.pays).max_fee_rate
            funding = desk.coin(draft.pays).wallet.fund(draft.value, draft.swaps, limit, reference=order.key)
            order.coins = order.funds = tuple(coin.coin_id for coin in funding.coins)

    async def each(self, fresh: Sequence[Fresh]) -> None:
        """Coins for every order, or for none. Raises what funding raises."""
        try:
            with self._desk.store.transaction():
                for order, draft in fresh:
                    self.one(order, draft)
        except ShortFundsError:  # Perhaps there is enough, only in too few coins.
            await self.split(fresh)

    async def split(self, fresh: Sequence[Fresh]) -> None:
        """One transaction for each asset paid; it is stored before the orders, which are before it is broadcast."""
        splits: list[tuple[int, SignedTx]] = []
        try:
            for asset in dict.fromkeys(draft.pays for _, draft in fresh):
                splits += [(asset, await self._sign_split(asset, fresh))]
            for asset, split in splits:
                await self._desk.coin(asset).wallet.broadcast(split.raw)
        except TwinlockError:
            for order, _ in fresh:
                with suppress(StoreError), self._desk.store.transaction():  # else the next login gives them back
                    self.release(order)
                    self._desk.store.delete(OrderRecord, order.key)  # Nobody was told of it.
            for asset, split in splits:
                with suppress(TwinlockError):  # That one was broadcast before another could not be.
                    self._desk.coin(asset).wallet.abandon(split.txid)
            raise

    async def _sign_split(self, asset: int, fresh: Sequence[Fresh]) -> SignedTx:
        desk, side = self._desk, self._desk.coin(asset)
        mine = [row for row in fresh if row[1].pays == asset]
        asks = [(draft.value, draft.swaps, order.key) for order, draft in mine]
        limit = desk.asset(asset).max_fee_rate
        fundings = await side.wallet.fund_splits(asks, limit, await side.chain.fee_rate())
        with changing(desk.store, *(order for order, _ in mine)):
            for (order, _), funding in zip(mine, fundings, strict=True):
                order.coins = order.funds = tuple(coin.coin_id for coin in funding.coins)
        assert fundings[0].split is not None
        return fundings[0].split

    def release(self, order: OrderRecord) -> None:
        """The order is over and nothing of it is still to be swapped: its coins, or the change, are free."""
        if order.funds_released or order.type == OrderType.CANCEL:
            return
        store = self._desk.store
        stored = store.get(OrderRecord, order.key) is not None
        with changing(store, order) if stored else store.transaction():
            self._desk.coin(pays(order)).wallet.unlock(order.funds)
            order.funds_released = True
