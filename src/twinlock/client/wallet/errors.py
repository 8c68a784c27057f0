"""What a wallet refuses, and why."""

from __future__ import annotations

from twinlock.errors import Fault, TwinlockError


class WalletError(TwinlockError):
    """The wallet cannot do what was asked."""

    code = "wallet.error"
    fault: Fault = "user"


class ScanningError(WalletError):
    """The wallet has not seen all of its addresses yet, so it does not know what it may spend."""

    code = "wallet.scanning"
    fault: Fault = "machine"


class ShortFundsError(WalletError):
    """Not enough is available. numbers: have, need (atoms)."""

    code = "wallet.short_funds"


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
