"""What a wallet refuses, and why."""

from __future__ import annotations

from twinlock.chain.coin import Coin
from twinlock.errors import Fault, TwinlockError
from twinlock.protocol.rates import amount_text


class WalletError(TwinlockError):
    """The wallet cannot do what was asked."""

    code = "wallet.error"
    fault: Fault = "user"


class ScanningError(WalletError):
    """The wallet has not seen all of its addresses yet, so it does not know what it may spend."""

    code = "wallet.scanning"
    fault: Fault = "machine"


class ShortFundsError(WalletError):
    """Not enough is available. numbers: have, need, locked for something else (atoms); fee_rate (atoms per vbyte)."""

    code = "wallet.short_funds"


class TooManyCoinsError(ShortFundsError):
    """There is enough, in more coins than can be named. numbers: coins, most; have, need (atoms)."""

    code = "wallet.too_many_coins"


class OutsideKeyError(WalletError):
    """The key that is needed is in a cold or hardware wallet."""

    code = "wallet.outside_key"


class BudgetError(WalletError):
    """Raising a fee that far costs more than allowed. numbers: fee, budget (atoms)."""

    code = "wallet.budget"


class FeeError(WalletError):
    """The fee of this transaction cannot be raised, or not in this way."""

    code = "wallet.fee"


class NodeWalletError(WalletError):
    """The coin's node refused a request of its wallet. numbers: rpc (its error code)."""

    code = "wallet.node"
    fault: Fault = "node"


class UnknownCoinError(WalletError):
    """No unspent coin of this wallet has that ID."""

    code = "wallet.unknown_coin"
    fault: Fault = "twinlock"


def short_funds(coin: Coin, need: int, have: int, locked: int, fee_rate: int) -> ShortFundsError:
    """In whole coins for people, in atoms for programs. have: what can be spent; locked: what is set aside."""

    def written(atoms: int) -> str:
        return f"{amount_text(atoms, coin.conversion_factor)} {coin.unit}"

    text, fix = f"{written(need)} are needed, {written(have)} can be spent", "Add funds, or take less."
    if need <= have + locked:
        text += f", {written(locked)} are set aside"
        fix = "Cancel an order, or wait for its swap; an order with --split sets aside no more than it needs."
    return ShortFundsError(text, numbers={"have": have, "need": need, "locked": locked, "fee_rate": fee_rate}, fix=fix)


def too_many_coins(coins: int, most: int, need: int, have: int) -> TooManyCoinsError:
    """An order names each coin that stands behind it, and their number is one byte."""
    return TooManyCoinsError(
        f"{coins} coins would be needed, {most} are the most that an order can have",
        numbers={"coins": coins, "most": most, "have": have, "need": need},
        fix="A limit order with --split makes one coin of them; or pay some of them to yourself first.",
    )


def still_scanning(symbol: str) -> ScanningError:
    """Whatever the wallet shows, something may be missing."""
    return ScanningError(
        f"{symbol}: the wallet is still looking at its addresses, so something may be missing",
        fix="wait a moment; if it stays so, none of its Electrum servers answers",
    )
