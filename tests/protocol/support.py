"""What the protocol's tests share: the reference vectors, and short ways to make orders."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from twinlock.protocol.orders import CancelOrder, LimitOrder, MarketOrder, Side, TimeInForce

VECTORS = Path(__file__).parents[1] / "vectors" / "dex-vectors.json"
LOT = 10


@cache
def _all() -> dict[str, dict[str, Any]]:
    return {vector["id"]: vector for vector in json.loads(VECTORS.read_text())["vectors"]}


def vector(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(inputs, expected)."""
    return _all()[name]["inputs"], _all()[name]["expected"]


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def limit(
    side: Side,
    rate: int,
    lots: int,
    *,
    number: int,
    time: int = 0,
    standing: bool = True,
    account: bytes = bytes(32),
) -> LimitOrder:
    """A limit order whose ID is scrambled from its number, so that IDs and times are independent."""
    return LimitOrder(
        id=identity(number),
        account_id=account,
        base=2,
        quote=0,
        client_time=time,
        server_time=time,
        commitment=identity(number + 1_000_000),
        coins=(identity(number) + bytes(4),),
        side=side,
        quantity=lots * LOT,
        address="address",
        rate=rate,
        time_in_force=TimeInForce.STANDING if standing else TimeInForce.IMMEDIATE,
    )


def market(side: Side, quantity: int, *, number: int) -> MarketOrder:
    return MarketOrder(
        id=identity(number),
        account_id=bytes(32),
        base=2,
        quote=0,
        client_time=0,
        server_time=0,
        commitment=identity(number + 1_000_000),
        coins=(identity(number) + bytes(4),),
        side=side,
        quantity=quantity,
        address="address",
    )


def cancel(target: bytes, *, number: int) -> CancelOrder:
    return CancelOrder(
        id=identity(number),
        account_id=bytes(32),
        base=2,
        quote=0,
        client_time=0,
        server_time=0,
        commitment=identity(number + 1_000_000),
        target_id=target,
    )


@cache
def identity(number: int) -> bytes:
    """32 bytes that look random and follow from the number."""
    return Random(number).randbytes(32)
