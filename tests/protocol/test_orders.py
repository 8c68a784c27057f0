"""Order IDs by the vectors: the two serializations of one order, and what they make of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.protocol.support import raw, vector

from twinlock.chain.keys import PrivateKey
from twinlock.protocol import signing
from twinlock.protocol.messages.orders import PlaceCancel, PlaceLimit, PlaceMarket
from twinlock.protocol.orders import (
    CancelOrder,
    LimitOrder,
    MarketOrder,
    OrderStatus,
    Side,
    TimeInForce,
    accept,
    commit,
    order_id,
)
from twinlock.protocol.wire import decode


def _members(given: dict[str, Any]) -> dict[str, Any]:
    members: dict[str, Any] = {
        "id": b"",
        "account_id": raw(given["accountid"]),
        "base": given["base"],
        "quote": given["quote"],
        "client_time": given["tclient"],
        "server_time": given["tserver"],
        "commitment": raw(given["commit"]),
    }
    if "qty" in given:
        members |= {
            "coins": tuple(raw(coin) for coin in given["coins"]),
            "side": Side.SELL if given["sell"] else Side.BUY,
            "quantity": given["qty"],
            "address": given["address"],
        }
    if "rate" in given:
        force = TimeInForce.STANDING if given["force"] else TimeInForce.IMMEDIATE
        members |= {"rate": given["rate"], "time_in_force": force}
    return members


def test_prefix() -> None:
    given, expected = vector("order-prefix-serialization")
    order = LimitOrder(
        **_members(given), coins=(), side=Side.BUY, quantity=0, address="", rate=0, time_in_force=TimeInForce.STANDING
    )
    assert order.serialized()[:89].hex() == expected["serialized"]


@pytest.mark.parametrize("name", ["limit-order-id-serialization", "limit-order-id"])
def test_limit(name: str) -> None:
    given, expected = vector(name)
    order = LimitOrder(**_members(given))
    assert order.serialized().hex() == expected["serialized"]
    assert order_id(order).hex() == expected.get("orderid", order_id(order).hex())


@pytest.mark.parametrize("name", ["market-order-id-serialization", "market-order-id"])
def test_market(name: str) -> None:
    given, expected = vector(name)
    order = MarketOrder(**_members(given))
    assert order.serialized().hex() == expected["serialized"]
    assert order_id(order).hex() == expected.get("orderid", order_id(order).hex())


def test_cancel() -> None:
    given, expected = vector("cancel-order-serialization")
    order = CancelOrder(**_members(given), target_id=raw(given["target"]))
    assert order.serialized().hex() == expected["serialized"]
    given, expected = vector("cancel-order-id")
    order = CancelOrder(**_members(given), target_id=raw(given["target"]))
    assert order_id(order).hex() == expected["orderid"]


@pytest.mark.parametrize("name", ["commitment-1", "commitment-2", "commitment-3"])
def test_commitments(name: str) -> None:
    given, expected = vector(name)
    assert commit(raw(given["preimage"])).hex() == expected["commitment"]


def test_a_limit_order_from_the_clients_signature_to_its_id() -> None:
    given, expected = vector("limit-order-roundtrip")
    coin = {"coinid": given["coinid"], "pubkeys": [], "sigs": [], "redeem": ""}
    message = decode(json.dumps(given | {"tserver": 0, "coins": [coin]}), PlaceLimit)
    assert message.signed_bytes().hex() == expected["client_message"]
    client, server = (PrivateKey(raw(given[who])) for who in ("client_privkey", "server_privkey"))
    assert signing.signed(client, message).sig.hex() == expected["client_sig"]
    stamped = msgspec.structs.replace(message, server_time=given["tserver"])
    assert stamped.signed_bytes().hex() == expected["server_message"]
    assert signing.sign(server, stamped.signed_bytes()).hex() == expected["server_sig"]

    order = accept(message, given["tserver"])
    assert isinstance(order, LimitOrder)
    assert order.serialized().hex() == expected["orderid_message"]
    assert order.id == order_id(order)
    assert order.id.hex() == expected["orderid"]
    assert commit(raw(given["preimage"])) == order.commitment


def test_accepting_keeps_what_the_message_says() -> None:
    prefix = {"accountid": "11" * 32, "base": 2, "quote": 0, "tclient": 5, "com": "22" * 32}
    trade = {"side": 1, "ordersize": 7, "address": "a", "coins": [{"coinid": "33" * 36}]}
    market = accept(decode(json.dumps(prefix | trade | {"ordertype": 2}), PlaceMarket), 9)
    assert isinstance(market, MarketOrder)
    assert (market.side, market.quantity, market.remaining, market.server_time) == (Side.BUY, 7, 7, 9)
    assert market.coins == (b"\x33" * 36,)
    cancel = accept(decode(json.dumps(prefix | {"ordertype": 3, "targetid": "44" * 32}), PlaceCancel), 9)
    assert isinstance(cancel, CancelOrder)
    assert cancel.target_id == b"\x44" * 32


def test_active_statuses() -> None:
    assert [status for status in OrderStatus if status.active] == [OrderStatus.EPOCH, OrderStatus.BOOKED]
