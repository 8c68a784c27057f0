"""What the exchange refuses, with real coins and over its real socket: the right code, and nothing stored."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.e2e.story import FUNDS, PLAN, RATE
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from twinlock.chain.keys import PrivateKey
from twinlock.client.link import tls_context
from twinlock.client.trader import Trader
from twinlock.protocol import signing
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.limits import MAX_FRAME, MAX_FRAME_BEFORE_CONNECT
from twinlock.protocol.messages.orders import Coin, PlaceLimit
from twinlock.protocol.orders import OrderType, Side, TimeInForce, commit
from twinlock.protocol.routes import LIMIT
from twinlock.protocol.wire import Hex
from twinlock.seams import SystemClock, SystemEntropy
from twinlock.simnet import traders
from twinlock.simnet.exchange import Exchange
from twinlock.simnet.miner import Miner

pytestmark = [pytest.mark.anyio, pytest.mark.node, pytest.mark.e2e]

LOT = PLAN.lot_size


def stored(exchange: Exchange) -> dict[str, int]:
    """Rows of each table in which a refused message could have left something."""
    with closing(sqlite3.connect(f"file:{exchange.folder}/server/server.db?mode=ro", uri=True)) as database:
        tables = ("accounts", "bonds", "orders", "matches", "points")
        return {name: database.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}


async def honest_order(trader: Trader) -> PlaceLimit:
    """An order to sell two lots, funded by one real coin of 10 LTC, signed."""
    desk = trader.venue().desk
    base, quote = trader.coins["ltc"], trader.coins["btc"]
    assert desk.account is not None
    funds = base.wallet.coins()[0]
    keys, signatures, redeem = await base.wallet.coin_proof(funds.coin_id)
    proof = Coin(
        coin_id=Hex(funds.coin_id),
        public_keys=[Hex(key) for key in keys],
        signatures=[Hex(signature) for signature in signatures],
        redeem=Hex(redeem),
    )
    order = PlaceLimit(
        account_id=Hex(desk.account.account_id),
        base=base.coin.asset_id,
        quote=quote.coin.asset_id,
        order_type=OrderType.LIMIT,
        client_time=trader.clock.now_ms(),
        commitment=Hex(commit(SystemEntropy().token(32))),
        side=Side.SELL,
        quantity=2 * LOT,
        coins=[proof],
        address=await quote.wallet.new_address(),
        rate=RATE,
        time_in_force=TimeInForce.STANDING,
    )
    return signing.signed(desk.signing_key(), order)


def forged(trader: Trader, order: PlaceLimit) -> PlaceLimit:
    return signing.signed(PrivateKey(SystemEntropy().token(32)), order)


def changed(**members: Any) -> Callable[[Trader, PlaceLimit], PlaceLimit]:
    def change(trader: Trader, order: PlaceLimit) -> PlaceLimit:
        return signing.signed(trader.venue().desk.signing_key(), replace(order, **members))

    return change


BAD: dict[str, tuple[Callable[[Trader, PlaceLimit], PlaceLimit], ErrorCode]] = {
    "a bad signature": (forged, ErrorCode.SIGNATURE),
    "a wrong lot size": (changed(quantity=LOT + 1), ErrorCode.ORDER_PARAMETER),
    "a coin that does not cover the order": (changed(quantity=40 * LOT), ErrorCode.FUNDING),
    "no coin at all": (changed(coins=[]), ErrorCode.FUNDING),
}


async def test_bad_orders_get_their_code_and_leave_nothing(tmp_path: Path) -> None:
    clock = SystemClock()
    async with Exchange(PLAN, tmp_path, clock) as exchange:
        miner = Miner(exchange.nodes.values(), clock, PLAN.block_seconds, lambda *_: None)
        async with miner, traders.fresh(exchange, "trader", SystemEntropy()) as trader:
            await trader.connected()
            await traders.fund(exchange, trader, FUNDS)
            await traders.until_balance(trader, "ltc", lambda balance: balance.available == FUNDS["ltc"])
            await traders.until_balance(trader, "btc", lambda balance: balance.available == FUNDS["btc"])
            await trader.register("btc")
            await traders.until(trader, lambda: traders.may_trade(trader))
            before = stored(exchange)
            assert before == {"accounts": 1, "bonds": 1, "orders": 0, "matches": 0, "points": 0}

            session, order, found = trader.venue().desk.session, await honest_order(trader), {}
            for name, (spoil, _) in BAD.items():
                with pytest.raises(RpcError) as refusal:
                    await session.request(LIMIT, spoil(trader, order))
                found[name] = refusal.value.rpc_code
            assert found == {name: code for name, (_, code) in BAD.items()}
            assert stored(exchange) == before

            await session.request(LIMIT, order)
            assert stored(exchange) == {**before, "orders": 1}, "the same order without its fault is taken"


@contextmanager
def closed_with(code: int) -> Iterator[None]:
    with pytest.raises(ConnectionClosed) as closing_:
        yield
    assert closing_.value.rcvd is not None
    assert closing_.value.rcvd.code == code


async def test_malformed_and_oversized_frames(tmp_path: Path) -> None:
    async with Exchange(PLAN, tmp_path, SystemClock()) as exchange:
        server = traders.configuration(exchange, "nobody").servers[0]

        def socket() -> connect:
            return connect(server.url, ssl=tls_context(server), compression=None, proxy=None)

        before = stored(exchange)
        async with socket() as link:
            for frame in ("this is no JSON", '{"type":1,"route":"config","id":0,"payload":null}'):
                answer = await ask(link, frame)
                assert (answer["id"], answer["payload"]["error"]["code"]) == (1, ErrorCode.PARSE)
            answer = await ask(link, '{"type":1,"route":"teleport","id":5,"payload":{}}')
            assert (answer["id"], answer["payload"]["error"]["code"]) == (5, ErrorCode.UNKNOWN_ROUTE)
            answer = await ask(link, '{"type":1,"route":"limit","id":6,"payload":{"ordersize":-1}}')
            assert answer["payload"]["error"]["code"] in (ErrorCode.UNAUTHORIZED, ErrorCode.PARSE)
            answer = await ask(link, '{"type":1,"route":"config","id":7,"payload":null}')
            assert answer["payload"]["result"]["apiver"] == 3, "the link that sent nonsense still serves"

        for size in (MAX_FRAME_BEFORE_CONNECT + 1, MAX_FRAME + 1):
            async with socket() as link:
                with closed_with(1009):
                    await link.send("x" * size)
                    await link.recv()
        assert stored(exchange) == before
        async with socket() as link:
            answer = await ask(link, '{"type":1,"route":"config","id":1,"payload":null}')
            assert answer["payload"]["result"]["apiver"] == 3, "one oversized frame costs the link, not the address"


async def ask(link: ClientConnection, frame: str) -> Any:
    await link.send(frame)
    return json.loads(await link.recv())
