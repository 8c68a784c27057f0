"""The wire: negotiation, errors with their exact codes, batches, limits; over a real loopback socket."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from tests.indexer.guests import Guest, settle
from tests.indexer.wire import Refused, Wallet
from tests.indexer.worlds import SCRIPT, World, name, world
from tests.vectors_for_tests import electrum_vectors

from twinlock.indexer.dispatch import HANDLERS
from twinlock.indexer.handlers import negotiate
from twinlock.indexer.methods import METHODS, RpcError
from twinlock.seams import VirtualClock

FRAMING = electrum_vectors("framing")


@pytest.mark.parametrize("case", FRAMING["negotiation"], ids=lambda case: str(case["client"]))
def test_versions_are_negotiated_as_published(case: dict[str, Any]) -> None:
    asked = "1.4" if case["client"] is None else case["client"]
    if case["result"] is None:
        with pytest.raises(RpcError, match="unsupported protocol version"):
            negotiate(asked)
    else:
        assert negotiate(asked) == tuple(map(int, case["result"].split(".")))


def test_every_row_of_the_table_has_a_handler() -> None:
    for method in METHODS.values():
        assert method.name in HANDLERS
        assert method.summary.startswith(method.name)


@pytest.mark.anyio
@pytest.mark.parametrize("text", FRAMING["requests"][:2])
async def test_published_requests(text: str) -> None:
    async with world() as w:
        wallet = Wallet(*await asyncio.open_connection("127.0.0.1", w.port))
        assert (await wallet.exchange(text.encode()))["result"][1] in ("1.4", "1.6")
        assert (await wallet.exchange(FRAMING["padded"].encode()))["result"] is None
        replies = await wallet.exchange(FRAMING["requests"][2].encode())
        assert sorted(reply["id"] for reply in replies) == [1, 2]


@pytest.mark.anyio
async def test_nothing_goes_before_the_version() -> None:
    async with world() as w:
        wallet = Wallet(*await asyncio.open_connection("127.0.0.1", w.port))
        reply = await wallet.exchange(b'{"id":1,"method":"server.ping"}\n')
        assert reply["error"] == {"code": 1, "message": "use server.version to identify client"}
        assert await wallet.ended()


@pytest.mark.anyio
async def test_an_unsupported_version_ends_the_session_and_a_second_one_does_not() -> None:
    async with world() as w:
        wallet = Wallet(*await asyncio.open_connection("127.0.0.1", w.port))
        reply = await wallet.exchange(b'{"id":1,"method":"server.version","params":["x","1.2"]}\n')
        assert reply["error"] == {"code": 1, "message": "unsupported protocol version: 1.2"}
        assert await wallet.ended()
        wallet = await Wallet.connect(w.port)
        with pytest.raises(Refused, match="already sent"):
            await wallet.call("server.version", "x", "1.4")
        assert await wallet.call("server.ping") is None
        wallet.close()


BAD = [
    ("blockchain.nothing", [], -32601, "unknown method"),
    ("blockchain.scripthash.get_balance", [], -32602, "too few"),
    ("server.ping", [1], -32602, "arguments"),
    ("blockchain.scripthash.get_balance", ["xx"], 1, "xx is not a valid script hash"),
    ("blockchain.scripthash.get_balance", [7], 1, "is not a valid script hash"),
    ("blockchain.block.header", [True], 1, "non-negative integer"),
    ("blockchain.block.header", [-1], 1, "non-negative integer"),
    ("blockchain.block.header", [1000], 1, "height 1,000 out of range"),
    ("blockchain.block.header", [5, 1000], 1, "cp_height"),
    ("blockchain.block.header", [5, 4], 1, "cp_height"),
    ("blockchain.transaction.get", ["00" * 32], 2, "No such mempool or blockchain transaction"),
    ("blockchain.transaction.get", ["00" * 31], 1, "should be a transaction hash"),
    ("blockchain.transaction.get", ["00" * 32, "yes"], 1, "should be a boolean"),
    ("blockchain.transaction.get_merkle", ["00" * 32, 3], 1, "not in block at height 3"),
    ("blockchain.transaction.id_from_pos", [3, 999], 1, "no tx at position 999"),
    ("blockchain.transaction.broadcast", ["zz"], 1, "hex"),
    ("blockchain.scripthash.unsubscribe", ["00" * 32], -32601, "unknown method"),  # since 1.4.2
    ("mempool.get_info", [], -32601, "unknown method"),  # since 1.6
    ("blockchain.estimatefee", [2, "CONSERVATIVE"], -32602, "arguments"),  # mode since 1.6
]


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "params", "code", "text"), BAD, ids=[f"{m}{p}"[:60] for m, p, *_ in BAD])
async def test_refusals_have_their_codes(method: str, params: list[Any], code: int, text: str) -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.4")
        with pytest.raises(Refused) as refused:
            await wallet.call(method, *params)
        assert refused.value.code == code
        assert text in str(refused.value)
        assert await wallet.call("server.ping") is None
        wallet.close()


@pytest.mark.anyio
async def test_what_is_no_request() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port)
        for line, code in ((b"{nonsense\n", -32700), (b"[]\n", -32600), (b'{"id":1}\n', -32600)):
            assert (await wallet.exchange(line))["error"]["code"] == code
        assert (await wallet.exchange(b'{"id":null,"method":"server.ping"}\n'))["id"] is None
        reply = await wallet.exchange(b"x" * 1_100_000 + b"\n")
        assert reply["error"]["code"] == -32600
        assert await wallet.ended()


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["1.5", "true", '"\\u2028 \\" x"', "123456789012345678901234567890", "-7", "null"])
async def test_whatever_scalar_names_a_request_names_its_answer(text: str) -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port)
        wanted = json.loads(text)
        for body in ('"method":"server.ping"', '"method":"server.ping","params":null', '"method":5', '"params":[]'):
            reply = await wallet.exchange(f'{{"id":{text},{body}}}\n'.encode())
            assert (reply["id"], type(reply["id"])) == (wanted, type(wanted))
            assert bool(reply.get("error")) == (body != '"method":"server.ping"')
        for odd in ("[1]", '{"a":1}', "1e999"):
            reply = await wallet.exchange(f'{{"id":{odd},"method":"server.ping"}}\n'.encode())
            assert (reply["id"], reply["error"]["code"]) == (None, -32600)
        wallet.close()


@pytest.mark.anyio
async def test_members_of_a_batch_that_are_wrong_do_not_take_others_with_them() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port)
        line = (
            b'[1,null,[],{"id":3},{"id":4,"method":"nope"},{"id":5,"method":"server.ping"},{"method":"nope"},'
            b'{"method":"server.ping"},{"id":6,"method":"blockchain.block.header","params":{"height":99999}},'
            b'{"id":7,"method":"server.ping","params":7}]\n'
        )
        replies = await wallet.exchange(line)
        codes = [(reply["id"], (reply.get("error") or {}).get("code")) for reply in replies]
        wrong: list[tuple[int | None, int | None]] = [(None, -32600)] * 3 + [(3, -32600), (4, -32601), (5, None)]
        assert codes == [*wrong, (6, 1), (7, -32600)]
        wallet.close()


@pytest.mark.anyio
async def test_notifications_are_not_answered_but_charged() -> None:
    async with world(network="mainnet", cost_soft_limit=50, cost_hard_limit=100) as w:
        wallet = await Wallet.connect(w.port)
        notes = [b'{"method":"server.ping"}\n', b'{"method":"nope"}\n', b'{"method":"server.ping","params":[1,2]}\n']
        reply = await wallet.exchange(b"".join(notes) + b'{"id":9,"method":"server.ping"}\n')
        assert (reply["id"], reply.get("error")) == (9, None)
        with suppress(ConnectionError):
            reply = await wallet.exchange(b'{"method":"nope"}\n' * 400)
            assert reply.get("error", {"code": -101})["code"] == -101
            assert await wallet.ended()


@pytest.mark.anyio
async def test_numbers_that_are_too_large_and_long_nonsense_are_refused_in_few_words() -> None:
    async with world() as w:
        wallet = await Wallet.connect(w.port, "1.6")
        far, sh = 1 << 70, name(SCRIPT)
        questions: list[tuple[str, list[Any]]] = [
            ("blockchain.block.header", [far]),
            ("blockchain.scripthash.get_history", [sh, 0, far]),
            ("blockchain.scripthash.get_history", [sh, far]),
            ("blockchain.scripthash.get_balance", ["0" * 900_000]),
            ("blockchain.scripthash.get_balance", [{"a": ["b" * 900_000]}]),
            ("nope" * 200_000, []),
        ]
        for method, params in questions:
            with pytest.raises(Refused) as refused:
                await wallet.call(method, *params)
            assert refused.value.code in (1, -32601), method
            assert len(str(refused.value)) < 400
        assert await wallet.call("blockchain.scripthash.get_history", sh, 0, 1 << 62)
        wallet.close()


@pytest.mark.anyio
async def test_an_old_client_is_answered_in_its_own_dialect() -> None:
    async with world() as w:
        wallet = Wallet(*await asyncio.open_connection("127.0.0.1", w.port))
        reply = await wallet.exchange(b'{"id":1,"method":"server.version","params":["x","1.4"]}\n')
        assert set(reply) == {"id", "result", "error"}
        reply = await wallet.exchange(b'{"id":2,"method":"blockchain.block.header","params":[77]}\n')
        assert (reply["result"], reply["error"]["code"]) == (None, 1)
        wallet.close()


@pytest.mark.anyio
async def test_while_the_chain_is_between_two_states_nobody_is_answered() -> None:
    w = World()
    guest = Guest.greeted(w)
    guest.ask("blockchain.headers.subscribe")
    w.manager.hold()
    w.grow()
    w.storage.undo()
    w.blocks.pop()
    w.view.chain_undone(w.storage.height, set())
    guest.pipe.sent.clear()
    guest.ask("blockchain.headers.get_tip")
    await settle()
    assert guest.pipe.sent == []
    w.manager.release()
    note, reply = guest.pipe.sent
    assert (note["method"], note["params"][0]["height"]) == ("blockchain.headers.subscribe", 11)
    assert reply["result"]["height"] == 11


@pytest.mark.anyio
async def test_when_that_takes_long_requests_are_refused_and_then_answered_again() -> None:
    clock = VirtualClock()
    w = World(clock=clock)
    guest, batch = Guest.greeted(w), Guest.greeted(w)
    w.manager.hold()
    guest.ask("blockchain.headers.get_tip")
    batch.session.data_received(b'[{"id":1,"method":"server.ping"}]\n')
    await settle()
    assert guest.pipe.sent == batch.pipe.sent == []
    await clock.advance(6)
    w.manager.look_after()
    await settle()
    busy = {"code": -102, "message": "server busy - the chain is being reorganised"}
    assert guest.pipe.sent.pop()["error"] == busy
    assert [reply["error"] for reply in batch.pipe.sent.pop()] == [busy]
    w.manager.release()
    guest.ask("blockchain.headers.get_tip")
    assert guest.pipe.sent.pop()["result"]["height"] == 11
