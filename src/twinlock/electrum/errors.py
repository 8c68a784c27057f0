"""What can go wrong between us and an Electrum server, and whose fault it is.

ElectrumError
├── FrameError               bytes that are no message, or too many of them     the server's fault
├── ConnectionLostError      the connection ended, or an answer took too long   nobody's: try again
├── UnavailableError         no server answered within the caller's time        the network's
├── ServerError              the server answered with an error                  see its number and text
│   ├── UnknownTransactionError  it knows no such transaction
│   └── RejectedError            its node refused a transaction: `reason` tells why
├── LyingServerError         an answer that contradicts its type, its proof or an earlier answer
└── CertificateChangedError  the pinned certificate is not the one shown
"""

from __future__ import annotations

from twinlock.errors import Fault, TwinlockError


class ElectrumError(TwinlockError):
    """Any failure of a conversation with an Electrum server."""

    code = "electrum.error"
    fault: Fault = "node"


class FrameError(ElectrumError):
    """A line that is not a JSON-RPC message, or is longer than the limit. The connection is over."""

    code = "electrum.frame"


class ConnectionLostError(ElectrumError):
    """The connection ended before the answer came. Every Electrum request may be asked again."""

    code = "electrum.connection_lost"


class UnavailableError(ElectrumError):
    """No server answered within the time that the caller gave."""

    code = "electrum.unavailable"
    fault: Fault = "machine"


class ServerError(ElectrumError):
    """The server answered with an error. `number` is its code, `text` its message, unaltered."""

    code = "electrum.server_error"

    def __init__(self, method: str, number: int, text: str) -> None:
        super().__init__(f"{method}: {text}", numbers={"number": number})
        self.method = method
        self.number = number
        self.text = text

    @property
    def busy(self) -> bool:
        """It speaks of the server's health, not of the question: internal error, overuse, too slow."""
        return self.number in (-32603, -102, -101)


class UnknownTransactionError(ServerError):
    """The server knows no transaction of that ID, neither in a block nor in its mempool."""

    code = "electrum.unknown_transaction"
    fault: Fault = "chain"


class RejectedError(ServerError):
    """The node refused to relay a transaction. `reason` is one of the keys of `REJECTIONS`, or ``other``."""

    code = "electrum.rejected"
    fault: Fault = "user"

    def __init__(self, method: str, number: int, text: str) -> None:
        super().__init__(method, number, text)
        self.reason = next((reason for reason, marks in REJECTIONS.items() if any(m in text for m in marks)), "other")


REJECTIONS: dict[str, tuple[str, ...]] = {
    "spent": ("bad-txns-inputs-missingorspent", "missing-inputs", "Missing inputs", "txn-mempool-conflict"),
    "fee_too_low": ("min relay fee not met", "mempool min fee not met", "insufficient fee", "fee not met"),
    "fee_too_high": ("max-fee-exceeded", "absurdly-high-fee", "Fee exceeds maximum"),
    "not_final": ("non-final", "non-BIP68-final", "Locktime requirement not satisfied"),
    "dust": ("dust",),
    "too_long_chain": ("too-long-mempool-chain", "too many descendants", "too many unconfirmed ancestors"),
    "script": ("mandatory-script-verify-flag", "non-mandatory-script-verify-flag", "mempool-script-verify-flag"),
}
"""Why a node refuses a transaction: our word for it, and the texts of Bitcoin Core's family that mean it."""


class LyingServerError(ElectrumError):
    """An answer that cannot be true. The code's last part, also in `what`, names what it contradicts: ``type``,
    ``version``, ``genesis``, ``headers``, ``work``, ``txid``, ``history``, ``status``, ``merkle`` or ``value``.
    """

    code = "electrum.lie"

    def __init__(self, what: str, message: str, **numbers: int | str) -> None:
        super().__init__(
            message,
            code=f"electrum.lie.{what}",
            numbers=numbers,
            fix="Another server is tried; remove this one from the list if it happens again.",
        )
        self.what = what


class CertificateChangedError(ElectrumError):
    """The server shows another certificate than the one pinned at the first visit, which has not expired."""

    code = "electrum.certificate_changed"
