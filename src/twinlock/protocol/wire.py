"""How values look on the wire: hexadecimal members, bounded integers, and the fixed-width bytes that are signed.

`Hex` is `bytes` that travel as a lower-case hexadecimal string. JSON null, an odd length and anything that is
not a hexadecimal digit are errors; the empty value is "" (protocol section 1.4).

>>> encode({"b": Hex.fromhex("fcf6d9b9")})
b'{"b":"fcf6d9b9"}'
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import msgspec

from twinlock.errors import TwinlockError
from twinlock.protocol.mending import mend

T = TypeVar("T")

U64_MAX = 2**64 - 1


class Hex(bytes):
    """Bytes that are written as a hexadecimal string in JSON."""

    __slots__ = ()

    def __new__(cls, data: bytes = b"") -> Hex:
        # The empty value is one object, because msgspec leaves out members that are identical to their default.
        return bytes.__new__(cls, data) if data else EMPTY

    def __repr__(self) -> str:
        return f"Hex({self.hex()!r})"


EMPTY: Hex = bytes.__new__(Hex)

U8 = Annotated[int, msgspec.Meta(ge=0, le=2**8 - 1)]
U16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
U64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Times, indices, amounts. The protocol's type is u64, but no honest value passes 2^63 - 1."""
WIDE = Annotated[int, msgspec.Meta(ge=0)]
"""A full u64, where a value of 2^63 or more has an answer of its own; its struct checks the upper end."""
I32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
I64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Payload(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A message's payload, or a part of one.

    On the wire unknown members are ignored, and names match in any case. Both are so rare that the decoder is strict,
    and only what it refuses is looked at again (`decode`).
    """


class Signed(Payload, kw_only=True, frozen=True):
    """A payload with a signature of its sender over `signed_bytes`."""

    sig: Hex = EMPTY

    def signed_bytes(self) -> bytes:
        """The exact bytes that the sender signs, and that the receiver signs in its acknowledgement."""
        raise NotImplementedError


class DecodeError(TwinlockError):
    """Bytes that are not the JSON of the expected type."""

    code = "protocol.decode"
    fault = "peer"


def u8(value: int) -> bytes:
    """One byte."""
    return value.to_bytes(1)


def u16(value: int) -> bytes:
    """Two bytes, big-endian."""
    return value.to_bytes(2)


def u32(value: int) -> bytes:
    """Four bytes, big-endian."""
    return value.to_bytes(4)


def u64(value: int) -> bytes:
    """Eight bytes, big-endian. Negative values in two's complement, as the protocol signs them."""
    return (value & U64_MAX).to_bytes(8)


def _to_custom(kind: type, value: Any) -> Any:
    if kind is not Hex:
        raise NotImplementedError(kind)
    if not isinstance(value, str):
        raise ValueError("Expected a hexadecimal string")
    return bytes.__new__(Hex, unhexlify(value)) if value else EMPTY


def _from_custom(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    raise NotImplementedError(type(value))


_encoder = msgspec.json.Encoder(enc_hook=_from_custom)


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_to_custom)


def encode(value: object) -> bytes:
    """The compact JSON of a payload."""
    return _encoder.encode(value)


def decode(data: bytes | str | msgspec.Raw, kind: type[T]) -> T:
    """Parse JSON into `kind`. Raises `DecodeError`."""
    try:
        return _strict(data, kind)
    except msgspec.ValidationError:
        pass  # it may still be what Go's decoder takes
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise DecodeError(str(error), fix="Send well-formed JSON.") from None
    try:
        return _strict(mend(data.encode() if isinstance(data, str) else bytes(data), kind), kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise DecodeError(str(error), fix="Send the member with the type that the protocol gives.") from None


def _strict(data: bytes | str | msgspec.Raw, kind: type[T]) -> T:
    value: T = _decoder(cast(Hashable, kind)).decode(data)
    return value
