"""The hub over real sockets: malformed, oversized, misplaced and too many messages (protocol sections 1.1 to 1.4)."""

from __future__ import annotations

import json
import ssl

import httpx
import pytest
from tests.server.conftest import BOND, BTC, Exchange, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from twinlock.protocol import envelope, routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.limits import MAX_FRAME_BEFORE_CONNECT
from twinlock.protocol.messages.account import Connect
from twinlock.protocol.signing import check, signed
from twinlock.protocol.wire import Hex

pytestmark = pytest.mark.anyio


async def test_a_notification_on_a_requests_route_is_handled_in_silence(exchange: Exchange) -> None:
    trader = await exchange.guest()
    assert trader.socket is not None
    await trader.socket.send('{"type":3,"route":"price_feed","payload":null}')
    await trader.note(routes.PRICE_UPDATE)
    assert trader.stray == []


async def test_frames_are_limited_until_connect(exchange: Exchange) -> None:
    trader = await exchange.guest()
    assert trader.socket is not None
    await trader.socket.send(json.dumps({"type": 1, "route": "config", "id": 1, "x": "y" * MAX_FRAME_BEFORE_CONNECT}))
    with pytest.raises(ConnectionClosed) as closed:
        await trader.socket.wait_closed()
        await trader.socket.send("x")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_frames_may_be_large_after_connect(exchange: Exchange) -> None:
    trader = await exchange.trader()
    frame = json.dumps({"type": 1, "route": "config", "id": 900, "payload": None, "x": "y" * 200_000})
    assert await trader.ask_raw(900, frame.encode(), routes.CONFIG.result)


async def test_binary_frames_end_the_link(exchange: Exchange) -> None:
    trader = await exchange.guest()
    assert trader.socket is not None
    await trader.socket.send(b"{}")
    await trader.socket.wait_closed()
    assert trader.socket.close_code == 1003


async def test_data_routes_share_the_buckets_of_http(exchange: Exchange) -> None:
    trader = await exchange.guest()
    with pytest.raises(RpcError) as caught:
        for _ in range(10):
            await trader.ask(routes.SPOTS, None)
    assert caught.value.rpc_code == ErrorCode.TOO_MANY_REQUESTS


async def test_connect_is_signed_by_the_server_too_and_its_time_is_not_judged(exchange: Exchange) -> None:
    guest, trader = await exchange.guest(), await exchange.trader()
    request = signed(trader.key, Connect(account_id=Hex(trader.account), timestamp=1))
    result = await guest.ask(routes.CONNECT, request)
    assert check(exchange.running.key.public, request.signed_bytes(), result.sig)


async def test_a_new_link_of_an_account_replaces_the_old_one(exchange: Exchange) -> None:
    first = await exchange.trader()
    second = exchange.stranger()
    second.key, second.account = first.key, first.account
    async with second:
        await second.connect()
        assert first.socket is not None
        await first.socket.wait_closed()
        assert exchange.running.hub.link_of(second.account) is not None


async def test_a_client_that_answers_pings_with_empty_pongs_stays(exchange: Exchange) -> None:
    trader = await exchange.guest()
    await until(lambda: exchange.running.hub.connected == 1)
    [link] = exchange.running.hub.links
    link.tick(link.last_tick + 17)
    assert (await trader.ask(routes.CONFIG, None)).api_version == 3
    link.tick(link.last_tick + 1_000)
    assert trader.socket is not None
    await trader.socket.wait_closed()


async def test_only_upgrades_are_welcome_on_ws(exchange: Exchange) -> None:
    server = exchange.running
    context = ssl.create_default_context(cafile=str(server.certificate))
    async with httpx.AsyncClient(verify=context, base_url=f"https://localhost:{server.port}") as client:
        assert (await client.get("/ws")).status_code == 400
        assert (await client.post("/ws")).status_code == 400


async def test_connections_above_the_limit_get_503(exchange: Exchange) -> None:
    server = exchange.running
    context = ssl.create_default_context(cafile=str(server.certificate))
    server.hub.max_clients = 1
    await exchange.guest()
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"wss://127.0.0.1:{server.port}/ws", ssl=context):
            pass
    assert refused.value.response.status_code == 503


async def test_prevalidation_signs_the_offer_with_the_transaction(exchange: Exchange) -> None:
    trader, later = await exchange.guest(), 2_000_000_000
    good = await trader.prevalidate(BTC, payment := trader.bond_payment(BTC, BOND, later))
    assert check(exchange.running.key.public, good.signed_bytes(payment.unsigned), good.sig)
    assert good.expiry == later - 240


async def test_names_of_members_match_in_any_case(exchange: Exchange) -> None:
    trader = await exchange.guest()
    frame = b'{"Type":1,"Route":"orderbook","ID":77,"Payload":{"Base":2,"QUOTE":0,"Depth":5}}'
    assert (await trader.ask_raw(77, frame, routes.ORDERBOOK.result)).market == "ltc_btc"


async def test_frames_of_envelope_and_response_ids(exchange: Exchange) -> None:
    trader = await exchange.guest()
    frame = envelope.request(2**64 - 1, "config")
    assert await trader.ask_raw(2**64 - 1, frame, routes.CONFIG.result)


async def test_a_link_that_logs_in_to_another_account_speaks_for_the_first_no_more(exchange: Exchange) -> None:
    first, second = await exchange.trader(), await exchange.trader()
    hub = exchange.running.hub
    request = signed(second.key, Connect(account_id=Hex(second.account), timestamp=1))
    await first.ask(routes.CONNECT, request)
    assert hub.link_of(first.account) is None
    assert hub.link_of(second.account) is not None
    await first.shut()
    await until(lambda: hub.connected == 0)
    assert hub.accounts == 0


async def test_a_link_that_is_closed_is_bound_to_no_account(exchange: Exchange) -> None:
    trader = await exchange.trader()
    hub = exchange.running.hub
    link = hub.link_of(trader.account)
    assert link is not None
    await trader.shut()
    await until(lambda: hub.connected == 0)
    hub.authenticate(link, trader.account)  # as after a look into the database that took longer than the link lived
    assert hub.accounts == 0
