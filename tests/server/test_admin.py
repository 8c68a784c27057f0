"""The operator's API (protocol section 10.4)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange
from tests.server.test_market_data import trade

from twinlock.chain.bip32 import HDKey
from twinlock.chain.coins import Network, coin
from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import PREPAID_ASSET_ID
from twinlock.protocol.orders import Side
from twinlock.server.db.audit import AuditEntry, add_audit, load_audit
from twinlock.server.db.fee_scales import load_fee_scale
from twinlock.server.errors import ListenError
from twinlock.server.wallet import DexWallet

pytestmark = pytest.mark.anyio


@pytest.fixture
async def exchange(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Exchange]:
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    exchange = Exchange(tmp_path / "data")
    exchange.settings = {"admin_listen": "127.0.0.1:0", "admin_password_file": password}
    await exchange.start()
    yield exchange
    await exchange.close()


@pytest.fixture
async def admin(exchange: Exchange) -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cafile=str(exchange.running.certificate))
    base = f"https://localhost:{exchange.running.admin_port}/api"
    async with httpx.AsyncClient(verify=context, base_url=base, auth=("anybody", "open sesame")) as client:
        yield client


async def test_nobody_without_the_password(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/ping")).json() == "pong"
    for auth in (("anybody", "wrong"), ("open sesame", "")):
        assert (await admin.get("/ping", auth=auth)).status_code == 401
    admin.auth = httpx.Auth()
    for header in ("", "Basic %%", "Bearer open sesame"):
        assert (await admin.get("/ping", headers={"Authorization": header})).status_code == 401


async def test_what_changes_state_is_posted(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/market/ltc_btc/suspend")).status_code == 405
    assert (await admin.get("/market/nothing")).status_code == 400


ACCOUNT = "/account/" + "00" * 32
BAD = [
    ("GET", "/nothing", 404, "admin.path"),
    ("POST", "/markets", 405, "admin.method"),
    ("GET", "/market/nothing", 400, "rpc.unknown_market"),
    ("GET", "/accounts?n=0", 400, "admin.parameter"),
    ("GET", "/accounts?n=-1", 400, "admin.parameter"),
    ("GET", "/accounts?n=1001", 400, "admin.parameter"),
    ("GET", "/accounts?n=" + "9" * 19, 400, "admin.parameter"),
    ("GET", "/accounts?after=xyz", 400, "admin.parameter"),
    ("GET", f"{ACCOUNT}/outcomes?n=x", 400, "admin.parameter"),
    ("GET", f"{ACCOUNT}/orders?after=1", 200, ""),
    ("GET", f"{ACCOUNT}/orders?after=x:00", 400, "admin.parameter"),
    ("GET", "/account/nobody", 400, "admin.parameter"),
    ("GET", ACCOUNT, 400, "rpc.account_not_found"),
    ("GET", "/market/ltc_btc/matches?includeinactive=perhaps", 400, "admin.parameter"),
    ("POST", "/market/ltc_btc/suspend?persist=perhaps", 400, "admin.parameter"),
    ("POST", "/market/ltc_btc/suspend?t=-1", 400, "admin.parameter"),
    ("POST", "/enabledataapi/perhaps", 400, "admin.parameter"),
    ("POST", "/asset/btc/setfeescale/much", 400, "admin.parameter"),
    ("POST", "/asset/btc/setfeescale/nan", 400, "rpc.invalid_request"),
    ("POST", "/prepaybonds?n=101", 400, "rpc.invalid_request"),
    ("POST", "/prepaybonds?days=99999999999999999", 400, "rpc.invalid_request"),
    ("POST", "/prepaybonds?strength=99999999999999999", 400, "rpc.invalid_request"),
]


async def test_every_refusal_has_one_shape(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    for method, url, status, code in BAD:
        answer = await admin.request(method, url)
        assert answer.status_code == status, (url, answer.text)
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        if code:
            assert (answer.json()["code"], set(answer.json())) == (code, {"error", "code", "fix"}), url
    answer = await admin.post("/notifyall", content=b"\xff")
    assert (answer.status_code, answer.json()["code"]) == (400, "admin.parameter")
    answer = await admin.post("/notifyall", content="hello", headers={"Origin": "https://elsewhere"})
    assert (answer.status_code, answer.json()["code"]) == (403, "admin.elsewhere")
    answer = await admin.get("/markets", auth=("anybody", "wrong"))
    assert (answer.json()["code"], answer.headers["www-authenticate"]) == ("admin.password", 'Basic realm="twinlock"')


async def test_whatever_is_posted_can_be_written_down(any_exchange: Exchange) -> None:
    """PostgreSQL has no text with a zero in it."""
    database = any_exchange.running.database
    entry = AuditEntry(stamp=1, address="", operator="a\0b" * 40, request="/x\0" * 200, body="\0" * 5_000, status=200)
    await database.write(add_audit(entry))
    [stored] = await load_audit(database)
    assert stored.operator.startswith("a\ufffdb")
    assert (len(stored.operator), len(stored.request), len(stored.body)) == (64, 512, 4_096)


async def test_an_address_that_is_taken_is_named_with_its_setting(exchange: Exchange) -> None:
    port = exchange.running.port
    other = Exchange(exchange.folder / "other")
    other.settings = exchange.settings | {"admin_listen": f"127.0.0.1:{port}"}
    with pytest.raises(ListenError, match=f"127.0.0.1:{port}") as caught:
        await other.build().__aenter__()
    assert caught.value.fix.endswith("server.admin_listen")


async def test_the_operator_s_own_addresses(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    row = coin("ltc", Network.REGTEST)
    wallet = DexWallet(row, HDKey.from_seed(bytes(32)).neuter().text(row))
    exchange.running.wallets["ltc"] = wallet
    found = (await admin.get("/asset/ltc/addresses?first=3&n=2")).json()
    assert found == [{"index": index, "address": wallet.address(index)} for index in (3, 4)]
    assert len((await admin.get("/asset/ltc/addresses")).json()) == 10
    refused = await admin.get("/asset/btc/addresses")
    assert (refused.status_code, "bond_xpub" in refused.json()["fix"]) == (400, True)
    assert (await admin.get(f"/asset/ltc/addresses?first={2**31}")).json()["code"] == "admin.parameter"


async def test_orders_and_matches_of_a_market_come_in_pages(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    await trade(exchange)
    await trade(exchange, 2)
    for path, key, time in (("orders", "oid", "time"), ("matches", "id", "matchtime")):
        whole = (await admin.get(f"/market/ltc_btc/{path}?includeinactive=true")).json()
        assert [row[time] for row in whole] == sorted((row[time] for row in whole), reverse=True)
        assert len(whole) >= 2
        paged, after = [], ""
        while page := (await admin.get(f"/market/ltc_btc/{path}?includeinactive=true&n=1{after}")).json():
            paged += page
            after = f"&after={page[0][time]}:{page[0][key]}"
        assert paged == whole
    orders = (await admin.get("/market/ltc_btc/orders")).json()
    assert {row["account"] for row in orders} == set((await admin.get("/accounts")).json())


async def test_accounts_outcomes_and_forgiveness(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    trader = await exchange.trader()
    trader.lies = True
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    await trader.note(routes.SCORECHANGED)
    name = trader.account.hex()
    assert (await admin.get("/accounts")).json() == [name]
    account = (await admin.get(f"/account/{name}")).json()
    assert (account["pubkey"], account["tier"], account["connected"]) == (trader.key.public.hex(), 2, True)
    [fail] = (await admin.get(f"/account/{name}/fails")).json()
    assert (fail["outcome"], fail["score"], fail["link"]) == ("preimage_miss", -2, receipt.order_id.hex())
    assert (await admin.post(f"/account/{name}/forgive_user")).json()["forgiven"] is True
    await trader.note(routes.SCORECHANGED, lambda note: note.reputation.score == 0)
    assert (await admin.get(f"/account/{name}")).json()["reputation"]["score"] == 0
    assert (await admin.get(f"/account/{name}/fails")).json() == []


async def test_an_account_is_told_that_it_may_trade_again(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    """A client that hears nothing goes on refusing its owner's orders, as Bison Wallet does."""
    accounts = exchange.running.manager.accounts
    accounts.policy = type(accounts.policy)(penalty_threshold=2)
    trader = await exchange.trader(tiers=1)
    trader.lies = True
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    assert (await trader.note(routes.TIERCHANGE)).tier == 0
    assert (await admin.post(f"/account/{trader.account.hex()}/forgive_user")).json()["unbanned"] is True
    change = await trader.note(routes.TIERCHANGE, lambda note: note.tier > 0)
    assert (change.tier, change.reputation.penalties, change.reputation.score) == (1, 0, 0)


async def test_prepaid_bonds_are_used_once(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    [code] = (await admin.post("/prepaybonds?days=30&strength=3")).json()
    trader, thief = await exchange.guest(), await exchange.guest()
    result = await trader.post_bond(PREPAID_ASSET_ID, bytes.fromhex(code))
    assert (result.amount, result.strength, result.reputation.bonded_tier) == (0, 3, 3)
    assert (await trader.connect()).active_bonds[0].asset_id == PREPAID_ASSET_ID
    with pytest.raises(RpcError) as caught:
        await thief.post_bond(PREPAID_ASSET_ID, bytes.fromhex(code))
    assert caught.value.rpc_code == ErrorCode.BOND


async def test_markets_books_and_suspension(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    trader = await exchange.trader()
    funds = exchange.chains[LTC].fund(trader.new_key(), 3 * LOT)
    receipt = await trader.place(trader.limit_order(MARKET, Side.SELL, LOT, RATE, funds))
    await trader.booked(receipt.order_id, MARKET)
    [market] = (await admin.get("/markets")).json()
    assert (market["market"], market["running"]) == ("ltc_btc", True)
    assert [o["oid"] for o in (await admin.get("/market/ltc_btc/orderbook")).json()["orders"]] == [
        receipt.order_id.hex()
    ]
    assert isinstance((await admin.get("/market/ltc_btc/epochorders")).json(), list)
    assert (await admin.get("/market/ltc_btc/matches?includeinactive=true")).json() == []
    suspended = (await admin.post("/market/ltc_btc/suspend?persist=false")).json()
    await trader.note(routes.REVOKE_ORDER)
    assert (await admin.get("/market/ltc_btc")).json()["finalepoch"] == suspended["finalepoch"]
    assert (await admin.post("/market/ltc_btc/resume")).json()["startepoch"] > suspended["finalepoch"]


async def test_notes_fees_and_the_data_api(exchange: Exchange, admin: httpx.AsyncClient) -> None:
    trader = await exchange.trader()
    assert (await admin.post(f"/account/{trader.account.hex()}/notify", content="hello")).json() == {"sent": True}
    assert await trader.note(routes.NOTIFY) == "hello"
    await admin.post("/notifyall", content="all of you")
    await trader.note(routes.NOTIFY, lambda note: note == "all of you")
    await exchange.running.assets[BTC].refresh_fee_rate()
    await exchange.running.assets[BTC].refresh_fee_rate()  # a higher one counts a minute later
    assert (await admin.post("/asset/btc/setfeescale/2.0")).json() == {"symbol": "btc", "feescale": 2.0}
    assert (await admin.post("/asset/btc/setfeescale/0")).status_code == 400
    asset = (await admin.get("/asset/btc")).json()
    assert asset["synced"] is True
    assert (asset["currentFeeRate"], asset["scaledFeeRate"], asset["maxfeerate"]) == (5, 5, 10)
    await admin.post("/enabledataapi/false")
    with pytest.raises(RpcError) as caught:
        await trader.ask(routes.SPOTS, None)
    assert caught.value.rpc_code == ErrorCode.TOO_MANY_REQUESTS


async def test_a_fee_scale_outlives_a_restart_until_the_configuration_changes(
    exchange: Exchange, admin: httpx.AsyncClient
) -> None:
    await admin.post("/asset/btc/setfeescale/1.5")
    await exchange.crash()
    await exchange.start()
    exchange.chains[BTC].rate = 4
    assert await exchange.running.assets[BTC].refresh_fee_rate() == 6
    assert await load_fee_scale(exchange.running.database, "btc", 2.0) == 2.0
    assert await load_fee_scale(exchange.running.database, "ltc", 1.0) == 1.0
