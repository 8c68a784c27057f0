"""The hashed time-locked contract of an atomic swap, byte by byte (protocol section 8.2).

Whoever knows the secret behind `secret_hash` and holds the recipient's key may take the funds at any
time; the sender may take them back once the chain's median time has reached `lock_time`.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from twinlock.chain.errors import ContractError
from twinlock.chain.script import Op

CONTRACT_SIZE = 97
SECRET_SIZE = 32

MIN_LOCK_TIME = 500_000_000
"""Lock times below this are block heights to the chain (BIP 65)."""

MAX_LOCK_TIME = 0x7FFFFFFF
"""A greater number would need five bytes, and four of them would read as a negative one."""

# The constant parts, in the order of the bytes; the hash opcode differs between families.
_BEFORE_HASH = bytes((Op.IF, Op.SIZE, 1, SECRET_SIZE, Op.EQUALVERIFY))
_BEFORE_RECIPIENT = bytes((Op.EQUALVERIFY, Op.DUP, Op.HASH160, 20))
_BEFORE_LOCK_TIME = bytes((Op.ELSE, 4))
_BEFORE_SENDER = bytes((Op.CHECKLOCKTIMEVERIFY, Op.DROP, Op.DUP, Op.HASH160, 20))
_END = bytes((Op.ENDIF, Op.EQUALVERIFY, Op.CHECKSIG))


class SwapContract(msgspec.Struct, frozen=True):
    """secret_hash: SHA-256 of the secret. recipient, sender: 20-byte public key hashes. lock_time: s."""

    secret_hash: bytes
    recipient: bytes
    sender: bytes
    lock_time: int

    def serialize(self, hash_opcode: int = Op.SHA256) -> bytes:
        """The 97 bytes. Raises ContractError for values that could never be spent as meant."""
        if (len(self.secret_hash), len(self.recipient), len(self.sender)) != (32, 20, 20):
            raise ContractError("a hash has the wrong size", code="chain.contract.size", fault="twinlock")
        _check_lock_time(self.lock_time)
        return b"".join(
            (
                _BEFORE_HASH,
                bytes((hash_opcode, 32)),
                self.secret_hash,
                _BEFORE_RECIPIENT,
                self.recipient,
                _BEFORE_LOCK_TIME,
                self.lock_time.to_bytes(4, "little"),
                _BEFORE_SENDER,
                self.sender,
                _END,
            )
        )

    @classmethod
    def parse(cls, contract: bytes, hash_opcode: int = Op.SHA256) -> SwapContract:
        """Raises ContractError unless every constant byte is in its place."""
        if len(contract) != CONTRACT_SIZE:
            raise ContractError(
                "a swap contract has 97 bytes", code="chain.contract.size", numbers={"size": len(contract)}
            )
        found = cls(
            secret_hash=contract[7:39],
            recipient=contract[43:63],
            sender=contract[74:94],
            lock_time=int.from_bytes(contract[65:69], "little"),
        )
        # Writing the parts again is the whole check: any other constant byte makes a difference.
        if found.serialize(hash_opcode) != contract:
            raise ContractError("not a swap contract", code="chain.contract.script")
        return found


def is_secret(data: bytes, secret_hash: bytes) -> bool:
    """Is this the 32-byte secret behind the hash?"""
    return len(data) == SECRET_SIZE and sha256(data).digest() == secret_hash


def _check_lock_time(lock_time: int) -> None:
    if not MIN_LOCK_TIME <= lock_time <= MAX_LOCK_TIME:
        raise ContractError(
            "the lock time is not one that four bytes can hold as a time",
            code="chain.contract.lock_time",
            numbers={"lock_time": lock_time, "min": MIN_LOCK_TIME, "max": MAX_LOCK_TIME},
        )
