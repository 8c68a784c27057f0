"""Proof of funds: whoever orders shows that it holds the keys of its coins (protocol section 5.6).

Each key signs the coin ID. For the Bitcoin family the digest is one SHA-256 of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from twinlock.chain import script
from twinlock.chain.errors import CoinProofError, KeyFormatError
from twinlock.chain.keys import PrivateKey, check_pubkey
from twinlock.chain.script import Kind
from twinlock.chain.signatures import Claim, check_many
from twinlock.kernels.ripemd160 import hash160

MAX_KEYS = 16


def sha256_digest(coin_id: bytes) -> bytes:
    """What the Bitcoin family signs."""
    return sha256(coin_id).digest()


def make_proof(
    coin_id: bytes, private: Sequence[PrivateKey], digest: Callable[[bytes], bytes] = sha256_digest
) -> tuple[list[bytes], list[bytes]]:
    """(public keys, DER signatures), one of each per key."""
    return [key.public for key in private], [key.sign(digest(coin_id)) for key in private]


def proof_claims(
    prevout_script: bytes,
    redeem_script: bytes,
    coin_id: bytes,
    pubkeys: Sequence[bytes],
    sigs: Sequence[bytes],
    digest: Callable[[bytes], bytes] = sha256_digest,
) -> list[Claim]:
    """What must be true besides. Raises CoinProofError unless the keys satisfy the output.

    redeem_script: of P2SH and P2WSH outputs, else empty.
    """
    if not 0 < len(sigs) == len(pubkeys) <= MAX_KEYS or len(set(pubkeys)) != len(pubkeys):
        raise CoinProofError(
            "there must be one signature for each public key, and at least one",
            code="chain.coin_proof.count",
            numbers={"pubkeys": len(pubkeys), "sigs": len(sigs)},
        )
    _check_keys(prevout_script, redeem_script, pubkeys)
    hashed = digest(coin_id)
    return [Claim(bytes(pubkey), hashed, bytes(sig)) for pubkey, sig in zip(pubkeys, sigs, strict=True)]


def judge_proof(claims: Sequence[Claim], verdicts: Sequence[bool]) -> None:
    """Raises CoinProofError for the first claim that is not true."""
    for claim, good in zip(claims, verdicts, strict=True):
        if good:
            continue
        try:
            check_pubkey(claim.public_key)
        except KeyFormatError as error:
            raise CoinProofError(str(error), code="chain.coin_proof.pubkey") from error
        raise CoinProofError("a signature of the coin ID is wrong", code="chain.coin_proof.signature")


def verify_proof(
    prevout_script: bytes,
    redeem_script: bytes,
    coin_id: bytes,
    pubkeys: Sequence[bytes],
    sigs: Sequence[bytes],
    digest: Callable[[bytes], bytes] = sha256_digest,
) -> None:
    """Both at once. Raises CoinProofError unless the keys satisfy the output and every one of them signed."""
    claims = proof_claims(prevout_script, redeem_script, coin_id, pubkeys, sigs, digest)
    judge_proof(claims, check_many(claims))


def _check_keys(prevout_script: bytes, redeem_script: bytes, pubkeys: Sequence[bytes]) -> None:
    kind = script.kind(prevout_script)
    if kind == Kind.P2SH:
        matches = script.p2sh_of(redeem_script) == prevout_script
    elif kind == Kind.P2WSH:
        matches = script.p2wsh(redeem_script) == prevout_script
    else:
        if kind not in (Kind.P2PK, Kind.P2PKH, Kind.P2WPKH):
            raise CoinProofError("outputs of this kind cannot fund an order", code="chain.coin_proof.kind")
        if redeem_script:
            raise CoinProofError("the output has no redeem script", code="chain.coin_proof.redeem_script")
        _check_key_script(prevout_script, pubkeys)
        return
    if not matches:
        raise CoinProofError("the redeem script is not the output's", code="chain.coin_proof.redeem_script")
    if kind == Kind.P2WSH and any(len(pubkey) != 33 for pubkey in pubkeys):
        raise CoinProofError("witness programs take compressed keys only", code="chain.coin_proof.pubkey")
    if kind == Kind.P2SH and len(redeem_script) > script.MAX_ELEMENT:
        raise CoinProofError("a redeem script of this size can never be shown", code="chain.coin_proof.redeem_script")
    if script.kind(redeem_script) not in (Kind.P2PK, Kind.P2PKH, Kind.MULTISIG):
        raise CoinProofError("the redeem script is not a standard one", code="chain.coin_proof.redeem_script")
    _check_key_script(redeem_script, pubkeys)


def _check_key_script(output: bytes, pubkeys: Sequence[bytes]) -> None:
    """Do the keys satisfy this P2PK, P2PKH, P2WPKH or multisig script?"""
    match script.kind(output):
        case Kind.P2PK:
            required, accepted = 1, {output[1:-1]}
        case Kind.P2PKH:
            required, accepted = 1, {key for key in pubkeys if hash160(key) == output[3:23]}
        case Kind.P2WPKH:
            required, accepted = 1, {key for key in pubkeys if len(key) == 33 and hash160(key) == output[2:]}
        case _:
            parsed = script.parse_multisig(output)
            required, accepted = (parsed[0], set(parsed[1])) if parsed else (1, set())
    if len(accepted.intersection(pubkeys)) < required:
        raise CoinProofError(
            "the public keys do not satisfy the output",
            code="chain.coin_proof.pubkey",
            numbers={"required": required, "given": len(pubkeys)},
        )
