"""Money arithmetic: the only place where amounts of one coin become amounts of another (protocol section 5.2).

A message-rate is quote atoms per 10^8 base atoms. All results are floored integers; text is exact decimal.

>>> base_to_quote(1234132, 4_200_000_000)
51833544
>>> rate_text(25_000, base_factor=10**8, quote_factor=10**8)
'0.00025'
"""

from __future__ import annotations

from fractions import Fraction

from twinlock.errors import TwinlockError
from twinlock.protocol.constants import RATE_FACTOR


class AmountError(TwinlockError):
    """Text that is not an exact amount or rate."""

    code = "amount.text"
    fault = "user"


def base_to_quote(rate: int, base: int) -> int:
    """Quote atoms that `base` base atoms cost at a message-rate."""
    return rate * base // RATE_FACTOR


def quote_to_base(rate: int, quote: int) -> int:
    """Base atoms that `quote` quote atoms buy at a message-rate; 0 for rate 0."""
    return quote * RATE_FACTOR // rate if rate else 0


def minimum_rate(min_quote_lot: int, lot_size: int) -> int:
    """The lowest rate a market accepts: one lot must not be worth less than the quote chain's smallest swap."""
    return -(-min_quote_lot * RATE_FACTOR // lot_size)


def amount_text(atoms: int, factor: int) -> str:
    """Atoms as conventional units, in exact decimal.

    >>> amount_text(150_000_000, 10**8), amount_text(-1, 10**8), amount_text(0, 10**8)
    ('1.5', '-0.00000001', '0')
    """
    return _decimal(Fraction(atoms, factor))


def parse_amount(text: str, factor: int) -> int:
    """Conventional units as atoms. Raises `AmountError` unless the text is a whole number of atoms."""
    return _whole(_parse(text) * factor, text)


def rate_text(rate: int, base_factor: int, quote_factor: int) -> str:
    """A message-rate as conventional quote units per conventional base unit."""
    return _decimal(Fraction(rate * base_factor, RATE_FACTOR * quote_factor))


def parse_rate(text: str, base_factor: int, quote_factor: int) -> int:
    """A conventional rate as a message-rate. Raises `AmountError` unless it is a whole one."""
    return _whole(_parse(text) * RATE_FACTOR * quote_factor / base_factor, text)


def _parse(text: str) -> Fraction:
    whole, _, decimals = text.strip().partition(".")
    digits = whole.removeprefix("-") + decimals
    if not digits.isascii() or not digits.isdigit() or len(digits) > 40:
        raise AmountError(f"not a decimal number: {text[:40]!r}", fix="Write it like 0.25.")
    magnitude = Fraction(int(digits), 10 ** len(decimals))
    return -magnitude if whole.startswith("-") else magnitude


def _whole(value: Fraction, text: str) -> int:
    if value.denominator != 1:
        raise AmountError(f"{text.strip()} has more decimals than the coin", fix="Write fewer decimals.")
    return value.numerator


def _decimal(value: Fraction) -> str:
    # Factors are powers of ten, so the decimals end; a factor that is not is shown to 18 places, rounded down.
    places = 0
    while value.denominator != 1 and places < 18:
        value, places = value * 10, places + 1
    magnitude = abs(value.numerator) // value.denominator
    sign = "-" if value < 0 else ""
    digits = str(magnitude).rjust(places + 1, "0")
    if not places:
        return sign + digits
    return f"{sign}{digits[:-places]}.{digits[-places:]}"
