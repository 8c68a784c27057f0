"""Addresses: what people write in place of output scripts.

>>> from twinlock.chain.coins import coin
>>> script_to_address(coin("btc", "mainnet"), bytes.fromhex("001406c2bf72992dd229fe4bed11365c8c4b5566b5e3"))
'bc1qqmpt7u5e9hfznljta5gnvhyvfd2kdd0r90hwue'
"""

from __future__ import annotations

from twinlock.chain import base58, bech32, script
from twinlock.chain.coin import Coin
from twinlock.chain.errors import AddressError, EncodingError
from twinlock.chain.script import Kind


def address_to_script(coin: Coin, text: str) -> bytes:
    """The output script of an address of that coin and network, in any valid spelling. Raises AddressError."""
    lead = text[: len(coin.hrp) + 1].lower()
    try:
        if coin.hrp and lead == coin.hrp + "1":
            return _program_script(*bech32.decode_segwit(coin.hrp, text))
        raw = base58.decode_check(text)
    except EncodingError as error:
        if _is_segwit_elsewhere(text):
            raise _other(coin) from error
        raise AddressError(f"not an address: {error}", code="chain.address.encoding", fix=_RETYPE) from error
    if len(raw) == 21 and raw[0] in coin.p2pkh:
        return script.p2pkh(raw[1:])
    if len(raw) == 21 and raw[0] in coin.p2sh:
        return script.p2sh(raw[1:])
    raise _other(coin)


def script_to_address(coin: Coin, output: bytes) -> str | None:
    """The canonical address of an output script, None if its kind has none."""
    match script.kind(output):
        case Kind.P2PKH:
            return base58.encode_check(bytes((coin.p2pkh[0],)) + output[3:23])
        case Kind.P2SH:
            return base58.encode_check(bytes((coin.p2sh[0],)) + output[2:22])
        case Kind.P2WPKH | Kind.P2WSH | Kind.P2TR | Kind.WITNESS if coin.segwit:
            program = script.witness_program(output)
            return bech32.encode_segwit(coin.hrp, *program) if program else None
    return None


def _other(coin: Coin) -> AddressError:
    return AddressError(
        f"not an address of {coin.name} {coin.network}",
        code="chain.address.network",
        fix=f"use an address of {coin.name} on {coin.network}",
    )


def _is_segwit_elsewhere(text: str) -> bool:
    """Whether it is whole, only with another prefix than the coin's."""
    lead = text.lower().rpartition("1")[0]
    try:
        return bool(lead) and bool(bech32.decode_segwit(lead, text))
    except EncodingError:
        return False


_RETYPE = "copy the address again, completely"


def _program_script(version: int, program: bytes) -> bytes:
    return bytes((version + script.Op.TRUE - 1 if version else 0, len(program))) + program
