"""What a swap proof holds, and how it is written: JSON with hexadecimal members, signed by the account's key."""

from __future__ import annotations

import msgspec

from twinlock.chain.coins import Network
from twinlock.errors import Fault, TwinlockError
from twinlock.protocol.messages.orders import PlaceLimit, PlaceMarket
from twinlock.protocol.messages.swaps import Audit, CounterpartyAddress, Init, Match, Redeem, Redemption
from twinlock.protocol.wire import EMPTY, DecodeError, Hex, decode, encode

VERSION = 1

MAX_BYTES = 4 << 20
"""A day of headers of a fast chain is a hundred kilobytes."""


class ProofError(TwinlockError):
    """The document proves nothing; the code's last word names the part at fault."""

    code = "proof.error"
    fault: Fault = "peer"


class Part(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Members that nobody knows could say anything, so there are none."""


class Inclusion(Part, kw_only=True, frozen=True):
    """A transaction in a block. block: index of its header among the leg's. branch: 32 bytes each, internal order."""

    tx: Hex
    block: int
    position: int
    branch: list[Hex]


class LegProof(Part, kw_only=True, frozen=True):
    """One contract. headers: 80 bytes each, linked, from the funding's block to some blocks on top of the spending's.

    output: the contract's index in the funding. spending: None where nothing was spent when the proof was made.
    """

    contract: Hex
    output: int
    funding: Inclusion
    spending: Inclusion | None = None
    headers: Hex


class Proof(Part, kw_only=True, frozen=True):
    """One side's proof of a match. own: the contract that this side funded; theirs: the counterparty's.

    The messages bear the server's signatures; `init` and `redeem` are ours, with the server's acknowledging signature.
    order: as the server stamped it; its ID is its hash, so it needs no signature. sig: the account's, over the rest.
    """

    version: int = VERSION
    network: Network
    server_key: Hex
    account_key: Hex
    limit: PlaceLimit | None = None
    market: PlaceMarket | None = None
    match: Match
    counterparty_address: CounterpartyAddress
    init: Init | None = None
    audit: Audit | None = None
    redeem: Redeem | None = None
    redemption: Redemption | None = None
    own: LegProof
    theirs: LegProof | None = None
    sig: Hex = EMPTY

    def signed_bytes(self) -> bytes:
        """The document without its signature."""
        return b"twinlock swap proof" + encode(msgspec.structs.replace(self, sig=EMPTY))


def write(proof: Proof) -> bytes:
    """The file's bytes."""
    return encode(proof) + b"\n"


def read(data: bytes) -> Proof:
    """The document, its shape checked and nothing else. Raises ProofError."""
    if len(data) > MAX_BYTES:
        raise ProofError("a proof is never so large", numbers={"size": len(data), "limit": MAX_BYTES})
    try:
        proof = decode(data, Proof)
    except DecodeError as error:
        raise ProofError(f"that is no swap proof: {error}", code="proof.document") from error
    if write(proof) != data:
        raise ProofError("the document holds more than a proof does", code="proof.document")
    return proof
