"""The books of a swap: what each wallet had and has, and what the chains themselves say that it paid in fees."""

from __future__ import annotations

from dataclasses import dataclass

from twinlock.client.store.records import SwapRecord
from twinlock.client.trader import Trader
from twinlock.errors import TwinlockError
from twinlock.protocol.swap import Party
from twinlock.simnet.exchange import Exchange


class BooksError(TwinlockError):
    """A wallet does not hold what it must."""

    code = "simnet.books"
    fault = "twinlock"


@dataclass(frozen=True, slots=True)
class Line:
    """One wallet over one swap, in atoms. `traded` is negative for what was given away."""

    who: str
    symbol: str
    before: int
    after: int
    traded: int
    fee: int

    def check(self) -> None:
        """Raises BooksError unless every atom is accounted for."""
        if self.after != self.before + self.traded - self.fee:
            raise BooksError(
                f"{self.who}'s {self.symbol} wallet should hold {self.before + self.traded - self.fee} atoms",
                numbers=self.numbers(),
            )

    def numbers(self) -> dict[str, int]:
        """What programs are told of it."""
        return {"before": self.before, "traded": self.traded, "fees": self.fee, "after": self.after}


def totals(trader: Trader) -> dict[str, int]:
    """Atoms of each coin that are the trader's, bonds included."""
    return {symbol: side.wallet.balance().total for symbol, side in trader.coins.items()}


async def lines(exchange: Exchange, who: str, trader: Trader, before: dict[str, int], swap: SwapRecord) -> list[Line]:
    """A trader's books over one finished swap: the coin that it gave first. The fees are read from the blocks."""
    own, other = (_side(trader, asset) for asset in (swap.own_asset, swap.other_asset))
    paid, received = swap.swap.legs[swap.party], swap.swap.legs[swap.party.other]
    amounts, after = swap.swap.terms.amounts, totals(trader)
    books = []
    for symbol, coin_id, traded in (
        (own, paid.coin_id, -amounts[swap.party]),
        (other, received.redeem_coin_id, amounts[swap.party.other]),
    ):
        txid = trader.coins[symbol].family.coin_id_text(coin_id).split(":")[0]
        fee = await exchange.nodes[symbol].fee(txid)
        books.append(Line(who, symbol, before[symbol], after[symbol], traded, fee))
    return books


def transactions(trader: Trader, swap: SwapRecord) -> dict[str, str]:
    """The four coin IDs of a finished swap by what they are: the two contracts and the two redemptions."""
    assets = {swap.party: swap.own_asset, swap.party.other: swap.other_asset}
    found = {}
    for party in Party:
        family = trader.coins[_side(trader, assets[party])].family
        leg = swap.swap.legs[party]
        found[f"{party.name.lower()}_contract"] = family.coin_id_text(leg.coin_id)
        found[f"{party.other.name.lower()}_redemption"] = family.coin_id_text(leg.redeem_coin_id)
    return found


def _side(trader: Trader, asset_id: int) -> str:
    return next(symbol for symbol, side in trader.coins.items() if side.coin.asset_id == asset_id)
