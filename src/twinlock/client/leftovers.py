"""What a swap leaves in the part of a cold wallet that trades by itself: its owner is told, and how to bring it home.

Payouts go to the cold account at once. Change of contracts, and the coins of orders that did not match, stay where they
can be traded with, in the hands of this computer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection

from twinlock.client.desk import CoinSide
from twinlock.client.events import Event, Notice, SwapEnded, WalletChanged
from twinlock.protocol.rates import amount_text
from twinlock.seams import Clock


class Leftovers:
    """Of these coins, whose wallets are cold."""

    def __init__(self, sides: Collection[CoinSide], clock: Clock, tell: Callable[[Event], None]) -> None:
        self._sides = {side.coin.symbol: side for side in sides}
        self._clock = clock
        self._tell = tell
        self._due: set[str] = set()

    async def run(self, events: AsyncIterator[Event]) -> None:
        """Until cancelled."""
        async for event in events:
            if isinstance(event, SwapEnded):
                self._due.update(self._sides)
            elif not isinstance(event, WalletChanged):
                continue
            for symbol in sorted(self._due):
                self._look(symbol)

    def _look(self, symbol: str) -> None:
        """Tell once after a swap, when nothing of it is under way any more."""
        side = self._sides[symbol]
        balance = side.wallet.balance()
        if balance.locked or balance.in_swap or balance.unconfirmed or not balance.available:
            return
        self._due.discard(symbol)
        amount = amount_text(balance.available, side.coin.conversion_factor)
        text = (
            f"{amount} {side.coin.unit} are left in the part of the cold wallet that trades by itself;"
            f" bring them home with `twinlock client wallet sweep {symbol}`"
        )
        self._tell(Notice(at=self._clock.now_ms(), text=text))
