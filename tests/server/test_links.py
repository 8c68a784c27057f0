"""The hub over real sockets: malformed, oversized, misplaced and too many messages (protocol sections 1.1 to 1.4)."""

from __future__ import annotations

import asyncio
import json
import ssl

import httpx
import pytest
from msgspec.structs import replace
from tests.server.conftest import BOND, BTC, MARKET, Exchange, until
from tests.server.trader import PATIENCE_S, Trader
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from twinlock.protocol import envelope, routes
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.limits import MAX_FRAME_BEFORE_CONNECT
from twinlock.protocol.messages.account import Connect
from twinlock.protocol.signing import check, signed
from twinlock.protocol.wire import Hex

pytestmark = pytest.mark.anyio


async def stray(trader: Trader, frame: str) -> RpcError:
    """Send anything; the error response that nobody asked for."""
    assert trader.socket is not None
    before = len(trader.stray)
    await trader.socket.send(frame)
    async with asyncio.timeout(PATIENCE_S), trader.arrived:
        await trader.arrived.wait_for(lambda: len(trader.stray) > before)
    return trader.stray[-1]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("nonsense", ErrorCode.PARSE),
        ("[]", ErrorCode.PARSE),
        ('{"type":1,"route":"config","id":0,"payload":null}', ErrorCode.PARSE),
        ('{"type":1,"route":"config","payload":null}', ErrorCode.PARSE),
        ('{"type":2,"id":0,"payload":{"result":true}}', ErrorCode.PARSE),
        ('{"type":1,"route":"config","id":-1,"payload":null}', ErrorCode.PARSE),
        ('{"type":1,"route":"config","id":1.5,"payload":null}', ErrorCode.PARSE),
        ('{"type":1,"route":"launch","id":7,"payload":null}', ErrorCode.UNKNOWN_ROUTE),
        ('{"type":4,"route":"config","id":7,"payload":null}', ErrorCode.UNKNOWN_MESSAGE_TYPE),
        ('{"type":3,"route":"launch","payload":null}', ErrorCode.UNKNOWN_MESSAGE_TYPE),
        ('{"type":2,"id":99,"payload":{"result":true}}', ErrorCode.UNKNOWN_RESPONSE_ID),
        ('{"type":1,"route":"orderbook","id":7,"payload":{"base":"2","quote":0}}', ErrorCode.PARSE),
        ('{"type":1,"route":"orderbook","id":7,"payload":{"base":2,"quote":42}}', ErrorCode.UNKNOWN_MARKET),
        ('{"type":1,"route":"orderbook","id":7,"payload":null}', ErrorCode.PARSE),
        ('{"type":1,"route":"unsub_orderbook","id":7,"payload":{"marketid":"a_b"}}', ErrorCode.UNKNOWN_MARKET),
        ('{"type":1,"route":"unsub_orderbook","id":7,"payload":{"marketid":"ltc_btc"}}', ErrorCode.NOT_SUBSCRIBED),
        ('{"type":1,"route":"match_status","id":7,"payload":[]}', ErrorCode.UNAUTHORIZED),
        ('{"type":1,"route":"connect","id":7,"payload":{"accountid":null,"timestamp":1}}', ErrorCode.PARSE),
        ('{"type":1,"route":"connect","id":7,"payload":{"accountid":"abc","timestamp":1}}', ErrorCode.PARSE),
    ],
)
async def test_malformed_messages_get_their_code_and_the_link_lives(
    exchange: Exchange, frame: str, code: ErrorCode
) -> None:
    trader = await exchange.guest()
    assert (await stray(trader, frame)).rpc_code == code
    assert (await trader.ask(routes.CONFIG, None)).api_version == 3


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


async def test_asking_too_often(exchange: Exchange) -> None:
    trader = await exchange.guest()
    with pytest.raises(RpcError) as caught:
        for _ in range(200):
            await trader.ask(routes.ORDERBOOK, routes.ORDERBOOK.payload(base=MARKET[0], quote=MARKET[1]))
    assert caught.value.rpc_code == ErrorCode.TOO_MANY_REQUESTS
    assert (await trader.ask(routes.CONFIG, None)).api_version == 3


async def test_data_routes_share_the_buckets_of_http(exchange: Exchange) -> None:
    trader = await exchange.guest()
    with pytest.raises(RpcError) as caught:
        for _ in range(10):
            await trader.ask(routes.SPOTS, None)
    assert caught.value.rpc_code == ErrorCode.TOO_MANY_REQUESTS


async def test_connect_is_judged(exchange: Exchange) -> None:
    guest = await exchange.guest()
    with pytest.raises(RpcError) as unknown:
        await guest.connect()
    assert unknown.value.rpc_code == ErrorCode.ACCOUNT_NOT_FOUND
    with pytest.raises(RpcError) as short:
        await guest.ask(routes.CONNECT, Connect(account_id=Hex(bytes(31)), timestamp=1))
    assert short.value.rpc_code == ErrorCode.AUTHENTICATION
    trader = await exchange.trader()
    request = signed(trader.key, Connect(account_id=Hex(trader.account), timestamp=1))
    with pytest.raises(RpcError) as forged:
        await guest.ask(routes.CONNECT, replace(request, timestamp=2))
    assert forged.value.rpc_code == ErrorCode.SIGNATURE
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


async def test_prevalidation_and_posting_refuse_bad_bonds(exchange: Exchange) -> None:
    trader = await exchange.guest()
    soon, later = 2_000, 2_000_000_000
    for amount, lock_time in ((BOND - 1, later), (BOND, 1_700_000_000 + soon)):
        with pytest.raises(RpcError) as caught:
            await trader.prevalidate(BTC, trader.bond_payment(BTC, amount, lock_time))
        assert caught.value.rpc_code == ErrorCode.BOND
    with pytest.raises(RpcError) as caught:
        await trader.prevalidate(2, trader.bond_payment(BTC, BOND, later))
    assert caught.value.rpc_code == ErrorCode.BOND
    good = await trader.prevalidate(BTC, payment := trader.bond_payment(BTC, BOND, later))
    assert check(exchange.running.key.public, good.signed_bytes(payment.unsigned), good.sig)
    assert good.expiry == later - 240


async def test_frames_of_envelope_and_response_ids(exchange: Exchange) -> None:
    trader = await exchange.guest()
    frame = envelope.request(2**64 - 1, "config")
    assert await trader.ask_raw(2**64 - 1, frame, routes.CONFIG.result)
