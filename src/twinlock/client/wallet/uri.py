"""Payment URIs (BIP 21): what a QR code for a payment says. Pure.

>>> from twinlock.chain.coins import coin
>>> btc = coin("btc", "mainnet")
>>> text = make(btc, Request("bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu", 50_000, label="a cup"))
>>> text
'bitcoin:bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu?amount=0.0005&label=a%20cup'
>>> parse(btc, text).amount
50000
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote

import msgspec

from twinlock.chain.address import address_to_script
from twinlock.chain.coins import Coin
from twinlock.chain.errors import AddressError

_AMOUNT = re.compile(r"(\d{1,9})(?:\.(\d{1,8}))?")


class Request(msgspec.Struct, frozen=True):
    """amount: atoms, 0 where the payer decides."""

    address: str
    amount: int = 0
    label: str = ""
    message: str = ""


def make(coin: Coin, request: Request) -> str:
    """The URI of a request."""
    told = {
        "amount": _coins(coin, request.amount) if request.amount else "",
        "label": request.label,
        "message": request.message,
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in told.items() if value)
    return f"{_scheme(coin)}:{request.address}{'?' if query else ''}{query}"


def parse(coin: Coin, text: str) -> Request:
    """A URI, or just an address. Raises AddressError, also for a parameter that must be understood and is not."""
    scheme, separator, rest = text.strip().partition(":")
    if not separator:
        address_to_script(coin, scheme)
        return Request(scheme)
    if scheme.lower() != _scheme(coin):
        raise AddressError(f"this is no payment request for {coin.name}", code="chain.address.uri", fault="user")
    address, _, query = rest.partition("?")
    address_to_script(coin, address)
    given = dict(parse_qsl(query, keep_blank_values=True))
    strange = sorted(name for name in given if name.startswith("req-"))
    if strange:
        raise AddressError(
            f"the request asks for something unknown here: {strange[0][:40]}", code="chain.address.uri", fault="user"
        )
    amount = _atoms(coin, given["amount"]) if "amount" in given else 0
    return Request(address, amount, given.get("label", ""), given.get("message", ""))


def _scheme(coin: Coin) -> str:
    return coin.name.lower()


def _coins(coin: Coin, atoms: int) -> str:
    whole, part = divmod(atoms, coin.conversion_factor)
    digits = len(str(coin.conversion_factor)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0").rstrip(".")


def _atoms(coin: Coin, text: str) -> int:
    found = _AMOUNT.fullmatch(text)
    digits = len(str(coin.conversion_factor)) - 1
    if found is None or len(found[2] or "") > digits:
        raise AddressError("the request's amount cannot be read", code="chain.address.uri", fault="user")
    return int(found[1]) * coin.conversion_factor + int((found[2] or "").ljust(digits, "0"))
