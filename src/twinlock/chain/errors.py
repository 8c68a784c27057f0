"""Every way in which bytes, text or values about a chain can be refused.

Each class has one stable code; the raiser may append a finer one (``chain.contract.lock_time``).
Unless a class says otherwise, the fault lies with whoever sent the data.
"""

from __future__ import annotations

from twinlock.errors import Fault, TwinlockError


class ChainError(TwinlockError):
    """Root of the package's errors."""

    code = "chain.error"
    fault: Fault = "peer"


class MalformedError(ChainError):
    """A serialized transaction, block, header or key is truncated, oversized or not canonical."""

    code = "chain.malformed"


class ScriptError(ChainError):
    """A script or script number cannot be read, or is of a kind that is not supported here."""

    code = "chain.script"


class EncodingError(ChainError):
    """Text is not valid base58check, bech32 or bech32m."""

    code = "chain.encoding"


class AddressError(ChainError):
    """An address does not belong to the coin and network, or is of a kind that is not accepted."""

    code = "chain.address"


class KeyFormatError(ChainError):
    """A private key, public key, extended key, derivation path or mnemonic is not valid."""

    code = "chain.key"


class CoinIdError(ChainError):
    """A coin ID has the wrong shape for its asset."""

    code = "chain.coin_id"


class ContractError(ChainError):
    """A swap contract is not byte for byte what the protocol asks for, or is not where it should be."""

    code = "chain.contract"


class BondError(ChainError):
    """A transaction is not a version 0 bond."""

    code = "chain.bond"


class CoinProofError(ChainError):
    """Public keys and signatures do not prove control of an output."""

    code = "chain.coin_proof"


class InclusionError(ChainError):
    """A Merkle branch or a chain of headers does not prove what it claims."""

    code = "chain.inclusion"


class FundsError(ChainError):
    """The inputs of a transaction do not cover its outputs and fee, or an output would be dust."""

    code = "chain.funds"
    fault: Fault = "user"


class UnknownAssetError(ChainError):
    """No coin of that symbol, asset ID or network is known, built in or plugged in."""

    code = "chain.unknown_asset"
    fault: Fault = "user"
