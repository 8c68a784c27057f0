"""Reports that arrive at the same moment: what one match may have, no second gets while the first is being stored."""

from __future__ import annotations

import asyncio

import pytest
from tests.server.conftest import Exchange
from tests.server.settlement import matched

from twinlock.protocol import routes
from twinlock.protocol.codes import ErrorCode, RpcError

pytestmark = pytest.mark.anyio


async def test_of_two_contracts_with_one_secret_hash_one_is_taken(exchange: Exchange) -> None:
    pairs = [await matched(exchange) for _ in range(4)]
    _, secret_hash = pairs[0].maker.new_secret()
    reports = [await made.maker_contract(secret_hash) for made in pairs]
    answers = await asyncio.gather(
        *(made.maker.ask(routes.INIT, report) for made, report in zip(pairs, reports, strict=True)),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if isinstance(answer, RpcError)]
    assert [error.rpc_code for error in refused] == [ErrorCode.CONTRACT] * 3


async def test_what_a_match_had_is_free_when_it_has_ended(exchange: Exchange) -> None:
    first, second = await matched(exchange), await matched(exchange)
    _, secret_hash = first.maker.new_secret()
    executor = exchange.running.manager.executor
    report = await first.maker_contract(secret_hash)
    await first.maker.ask(routes.INIT, report)
    settling = executor.find(first.id)
    assert settling is not None
    assert settling.marks
    await executor.expired(settling)
    assert executor.find(first.id) is None
    with pytest.raises(RpcError) as caught:
        await first.maker.ask(routes.INIT, report)
    assert caught.value.rpc_code == ErrorCode.UNKNOWN_MATCH
    await second.maker.ask(routes.INIT, await second.maker_contract(secret_hash))
