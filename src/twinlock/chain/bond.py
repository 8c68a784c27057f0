"""Version 0 bonds: the script that locks the amount and the output that names the account (protocol 4.5)."""

from __future__ import annotations

import msgspec

from twinlock.chain import script
from twinlock.chain.errors import BondError, ScriptError
from twinlock.chain.script import Op

BOND_VERSION = 0
MAX_LOCK_TIME = 0xFFFFFFFF
"""The commitment holds the lock time as a u32."""

MIN_LOCK_TIME = 500_000_000
"""Lock times below this are block heights to the chain (BIP 65)."""

_COMMITMENT_SIZE = 58
_TAIL = bytes((Op.CHECKLOCKTIMEVERIFY, Op.DROP)) + b"\x76\xa9\x14"
_END = b"\x88\xac"


class BondScript(msgspec.Struct, frozen=True):
    """lock_time: s. pubkey_hash: 20 bytes, of the compressed bond key."""

    lock_time: int
    pubkey_hash: bytes

    def serialize(self) -> bytes:
        """32 bytes, 33 for lock times from 2^31 on. Raises BondError."""
        if len(self.pubkey_hash) != 20:
            raise BondError("the public key hash must have 20 bytes", numbers={"size": len(self.pubkey_hash)})
        if not MIN_LOCK_TIME <= self.lock_time <= MAX_LOCK_TIME:
            raise BondError(
                "the lock time is not a time that fits into 32 bits",
                code="chain.bond.lock_time",
                numbers={"lock_time": self.lock_time, "min": MIN_LOCK_TIME, "max": MAX_LOCK_TIME},
            )
        return script.push(script.number(self.lock_time)) + _TAIL + self.pubkey_hash + _END

    @classmethod
    def parse(cls, data: bytes) -> BondScript:
        """Raises BondError unless every byte is in its place."""
        size = data[0] if data else 0
        if size not in (4, 5) or len(data) != 28 + size:
            raise BondError("not a bond script", code="chain.bond.script", numbers={"size": len(data)})
        try:
            lock_time = script.parse_number(data[1 : 1 + size], max_size=5)
        except ScriptError as error:
            raise BondError(f"not a bond script: {error}", code="chain.bond.script") from error
        found = cls(lock_time, data[-22:-2])
        if found.serialize() != data:
            raise BondError("not a bond script", code="chain.bond.script")
        return found


class Commitment(msgspec.Struct, frozen=True):
    """What output 1 of a bond transaction says; lock_time in s."""

    account_id: bytes
    lock_time: int
    pubkey_hash: bytes
    version: int = BOND_VERSION

    def serialize(self) -> bytes:
        """The output script: OP_RETURN and a push of 58 bytes."""
        if (len(self.account_id), len(self.pubkey_hash)) != (32, 20):
            raise BondError("the account ID has 32 bytes, the public key hash 20")
        return script.data_output(
            self.version.to_bytes(2, "big") + self.account_id + self.lock_time.to_bytes(4, "big") + self.pubkey_hash
        )

    @classmethod
    def parse(cls, output_script: bytes) -> Commitment:
        """Raises BondError."""
        if len(output_script) != _COMMITMENT_SIZE + 2 or output_script[:2] != bytes((Op.RETURN, _COMMITMENT_SIZE)):
            raise BondError("output 1 is not a bond commitment", code="chain.bond.commitment")
        data = output_script[2:]
        version = int.from_bytes(data[:2], "big")
        if version != BOND_VERSION:
            raise BondError("unknown bond version", code="chain.bond.version", numbers={"version": version})
        return cls(data[2:34], int.from_bytes(data[34:38], "big"), data[38:], version)
