"""Coin locks: a coin funds one order at a time, on all markets together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twinlock.server.market.errors import MarketError


class CoinLocks:
    """The locked coins of one asset.

    >>> locks = CoinLocks()
    >>> locks.lock(b"order", [b"coin"])
    >>> locks.holder(b"coin"), locks.release(b"order"), locks.holder(b"coin")
    (b'order', None, None)
    """

    def __init__(self) -> None:
        self._holders: dict[bytes, bytes] = {}
        self._coins: dict[bytes, tuple[bytes, ...]] = {}

    def holder(self, coin_id: bytes) -> bytes | None:
        """The order that a coin funds."""
        return self._holders.get(coin_id)

    def coins(self) -> Mapping[bytes, bytes]:
        """Every locked coin, and the order that it funds; only to look at."""
        return self._holders

    def lock(self, order_id: bytes, coins: Iterable[bytes]) -> None:
        """Lock all coins for an order, or none. Raises MarketError."""
        wanted = tuple(coins)
        for coin in wanted:
            holder = self._holders.get(coin)
            if holder not in (None, order_id):
                raise MarketError(
                    "coins_locked", f"coin {coin.hex()[:16]} funds another order", fix="fund it with other coins"
                )
        self._coins[order_id] = wanted
        for coin in wanted:
            self._holders[coin] = order_id

    def release(self, order_id: bytes) -> None:
        """Unlock everything that an order held."""
        for coin in self._coins.pop(order_id, ()):
            self._holders.pop(coin, None)

    def __len__(self) -> int:
        return len(self._holders)
