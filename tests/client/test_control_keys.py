"""Keys with scopes, the conditions and estimates of the interface, evidence, and the document that describes it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.client.fake_server import LOT, MARKET
from tests.client.world import RATE, World, world

from twinlock.client.control import requests, views
from twinlock.client.control.app import Control
from twinlock.client.control.openapi import document
from twinlock.client.control.remote import Remote, RemoteError, embedded
from twinlock.client.control.table import OPERATIONS
from twinlock.client.estimate import Estimate, MaxOrder
from twinlock.client.keyring import ApiKeyRecord
from twinlock.client.store.records import EvidenceRecord
from twinlock.client.trader import Trader

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "client-api.json"

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        yield it


def asking(trader: Trader, key: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Control(trader, "owner").app())
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url="http://127.0.0.1", transport=transport, headers=headers)


async def test_a_key_does_what_its_scopes_say_until_it_is_revoked(it: World) -> None:
    (alice,) = await it.funded("alice")
    read, trade = alice.keyring.create("viewer"), alice.keyring.create("bot", ["read", "trade"])
    order = {"market": MARKET, "side": "sell", "quantity": LOT, "rate": RATE}
    async with asking(alice, read) as http:
        assert (await http.get("/orders")).status_code == 200
        refused = await http.post("/orders", json=order)
        assert (refused.status_code, refused.json()["code"]) == (403, "control.forbidden")
        assert (await http.get("/keys")).status_code == 403, "a key cannot make keys"
    async with asking(alice, trade) as http:
        placed = await it.call(http.post("/orders", json=order))
        assert placed.status_code == 200  # type: ignore[attr-defined]
        sending = await http.post("/wallets/btc/send", json={"address": "x", "amount": 1})
        assert (sending.status_code, sending.json()["code"]) == (403, "control.forbidden")
        alice.keyring.revoke("bot")
        assert (await http.get("/orders")).status_code == 401
    (kept,) = it.stores["alice"].all(ApiKeyRecord)
    assert (kept.name, read.encode() in msgspec.msgpack.encode(kept)) == ("viewer", False)


async def test_the_scope_to_withdraw_is_never_given_unasked_and_not_enough_by_itself(it: World) -> None:
    alice = await it.start("alice")
    payer = alice.keyring.create("payer", ["withdraw"])
    assert alice.keyring.scopes(alice.keyring.create("default")) == {"read"}
    async with asking(alice, payer) as http:
        refused = await http.post("/wallets/btc/send", json={"address": "x", "amount": 1})
        assert (refused.status_code, "allow_withdraw" in refused.json()["fix"]) == (403, True)
        assert (await http.get("/wallets")).status_code == 403
    async with asking(alice, "tlk_unknown") as http:
        assert (await http.get("/wallets")).status_code == 401


async def test_the_owner_makes_and_revokes_keys(it: World) -> None:
    alice = await it.start("alice")
    async with embedded(alice) as remote:
        made = await remote.post("/keys", views.KeyView, requests.NewKey("bot", ["read", "trade"]))
        assert alice.keyring.scopes(made.key) == {"read", "trade"}
        assert [row.key for row in await remote.get("/keys", list[views.KeyView])] == [""]
        with pytest.raises(RemoteError):
            await remote.post("/keys", views.KeyView, requests.NewKey("bot"))
        await remote.delete("/keys/bot", views.Accepted)
        assert await remote.get("/keys", list[views.KeyView]) == []


async def called(it: World, remote: Remote, path: str, kind: Any, body: Any) -> Any:
    return await it.call(remote.post(path, kind, body))


async def test_estimates_several_orders_and_conditions(it: World) -> None:
    (alice,) = await it.funded("alice")
    order = requests.PlaceOrder(market=MARKET, side="sell", quantity=LOT, rate=RATE)
    async with embedded(alice) as remote:
        told = await called(it, remote, "/orders/estimate", Estimate, order)
        assert (told.lots, told.missing) == (1, 0)
        most = await remote.get(f"/markets/{MARKET}/largest?side=sell&rate={RATE}", MaxOrder)
        assert most.quantity >= LOT
        both = await called(it, remote, "/orders/several", list[views.Outcome], [order, order])
        assert [row.order.status for row in both] == ["epoch", "epoch"]
        wanted = requests.PlaceCondition("a", MARKET, "sell", LOT, RATE - 1_000, RATE - 2_000)
        made = await called(it, remote, "/conditions", views.ConditionView, wanted)
        assert made.status == "waiting"
        await it.call(remote.delete("/conditions/a", views.ConditionView))
        assert [row.status for row in await remote.get("/conditions", list[views.ConditionView])] == ["canceled"]
        await it.close_epoch()
        await it.close_epoch()
        seen = await remote.get(f"/markets/{MARKET}/epochs", list[views.EpochView])
        assert [row.accusation for row in seen] == [""] * len(seen)
        assert seen
    await it.stop("alice")
    async with embedded(await it.start("alice")) as remote:
        kept = await remote.get(f"/markets/{MARKET}/epochs?count=1", list[views.EpochView])
        assert kept == seen[-1:], "epochs outlive a restart"


async def test_evidence_is_listed_and_shown(it: World) -> None:
    alice = await it.start("alice")
    body = json.dumps({"proof": 1}).encode()
    record = EvidenceRecord(name="host:1/ltc_btc/7", host="host:1", at=1, accusation="it lied", body=body)
    it.stores["alice"].put(record)
    async with embedded(alice) as remote:
        (row,) = await remote.get("/evidence", list[views.EvidenceView])
        assert (row.name, row.accusation, row.body) == ("host:1/ltc_btc/7", "it lied", None)
        assert (await remote.get(f"/evidence/{row.name}", views.EvidenceView)).body == {"proof": 1}
        with pytest.raises(RemoteError):
            await remote.get("/evidence/none", views.EvidenceView)


def test_the_document_in_the_reference_is_that_of_the_code() -> None:
    assert json.loads(DOCUMENT.read_text()) == json.loads(json.dumps(document())), (
        "write it anew: twinlock client api > docs/reference/client-api.json"
    )


async def test_every_operation_is_described_and_guarded(it: World) -> None:
    alice = await it.start("alice")
    described = {(method.upper(), path) for path, row in document()["paths"].items() for method in row}
    assert {(row.method, row.path.replace(":path", "")) for row in OPERATIONS} <= described
    async with asking(alice, "nobody") as http:
        for row in OPERATIONS:
            assert (await http.request(row.method, row.path)).status_code == 401
        assert (await http.get("/openapi.json")).status_code == 401
    async with asking(alice, "owner") as http:
        assert (await http.get("/openapi.json")).json()["openapi"] == "3.1.0"
