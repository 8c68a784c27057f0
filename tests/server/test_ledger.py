"""The epoch ledger of a live exchange replays, whatever happened to its book."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from msgspec import Raw
from msgspec.structs import replace
from tests.server.conftest import BTC, LOT, LTC, MARKET, RATE, Exchange, until

from twinlock.cli.audit import audit
from twinlock.protocol import routes
from twinlock.protocol.audit import Auditor
from twinlock.protocol.ledger import (
    Entry,
    Epoch,
    LedgerError,
    Opening,
    Removal,
    decode_record,
    encode_record,
    parse_line,
)
from twinlock.protocol.messages.book import BookSubscription
from twinlock.protocol.orders import Side
from twinlock.protocol.signing import sign

pytestmark = pytest.mark.anyio


async def ledger(exchange: Exchange) -> list[bytes]:
    context = ssl.create_default_context(cafile=str(exchange.running.certificate))
    async with httpx.AsyncClient(verify=context, base_url=f"https://localhost:{exchange.running.port}") as client:
        return (await client.get("/api/ledger/ltc/btc")).content.splitlines()


async def traded(exchange: Exchange) -> None:
    """A booked sell, a buy that takes half of it, a cancel of the rest, and a revoked order."""
    maker, taker = await exchange.trader(), await exchange.trader()
    funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
    money = exchange.chains[BTC].fund(taker.new_key(), 10 * LOT)
    receipt = await maker.place(maker.limit_order(MARKET, Side.SELL, 2 * LOT, RATE, funds))
    await maker.booked(receipt.order_id, MARKET)
    await taker.place(taker.limit_order(MARKET, Side.BUY, LOT, RATE, money))
    await taker.note(routes.MATCH)
    await maker.place(maker.cancel_order(MARKET, receipt.order_id))
    await maker.note(routes.UNBOOK_ORDER)
    more = exchange.chains[LTC].fund(taker.new_key(), 10 * LOT)
    doomed = await taker.place(taker.limit_order(MARKET, Side.SELL, LOT, 2 * RATE, more))
    await taker.booked(doomed.order_id, MARKET)
    await exchange.running.manager.revoke_orders("ltc_btc", [doomed.order_id])
    await maker.note(routes.EPOCH_REPORT, lambda note: note.epoch > 0)
    last = exchange.running.manager.markets["ltc_btc"].now()
    await maker.note(routes.EPOCH_REPORT, lambda note: note.epoch > last)


async def test_a_ledger_replays_over_restarts(any_exchange: Exchange) -> None:
    exchange = any_exchange
    await traded(exchange)
    await exchange.crash()
    await exchange.start()
    await traded(exchange)
    auditor = Auditor(exchange.running.key.public)
    records = [auditor.take(line) for line in await ledger(exchange)]
    assert auditor.fills == 4  # two trades and two cancels
    assert isinstance(records[0], Opening)
    assert [record.reason for record in records if isinstance(record, Removal)] == ["revoked", "revoked"]
    assert [record.number for record in records] == list(range(len(records)))
    booked = {order.id: order.remaining for order in exchange.running.manager.markets["ltc_btc"].book}
    assert {order.id: order.remaining for order in auditor.book} == booked


async def test_the_feed_pushes_records_to_who_asks(exchange: Exchange) -> None:
    asker, other = await exchange.guest(), await exchange.guest()
    base, quote = MARKET
    await asker.ask(routes.ORDERBOOK, BookSubscription(base=base, quote=quote, ledger=True))
    await other.ask(routes.ORDERBOOK, BookSubscription(base=base, quote=quote))
    await traded(exchange)
    auditor = Auditor(exchange.running.key.public)
    lines = await ledger(exchange)
    for line in lines:
        auditor.take(line)
    pushed = {Entry(record=note.record, sig=note.sig).line() for note in asker.notes[routes.EPOCH_LEDGER.name]}
    assert len(pushed & {line + b"\n" for line in lines}) > 3
    assert not other.notes[routes.EPOCH_LEDGER.name]


async def test_suspension_is_in_the_ledger(exchange: Exchange) -> None:
    """A cancel while the market stands still, and a book that is not kept."""
    manager = exchange.running.manager
    maker = await exchange.trader(4)
    receipts = []
    for number in (1, 2, 3):
        funds = exchange.chains[LTC].fund(maker.new_key(), 10 * LOT)
        receipts.append(await maker.place(maker.limit_order(MARKET, Side.SELL, LOT, number * RATE, funds)))
    for receipt in receipts:
        await maker.booked(receipt.order_id, MARKET)
    await manager.suspend("ltc_btc", persist=True)
    await maker.note(routes.SUSPENSION, lambda note: note.time is None)
    await maker.place(maker.cancel_order(MARKET, receipts[0].order_id))
    await manager.resume("ltc_btc")
    await maker.note(routes.RESUMPTION, lambda note: note.time is None)
    await manager.suspend("ltc_btc", persist=False)
    await maker.note(routes.SUSPENSION, lambda note: note.time is None and not note.persist_book)
    auditor = Auditor(exchange.running.key.public)
    removals = [record for line in await ledger(exchange) if isinstance(record := auditor.take(line), Removal)]
    assert [(removal.reason, len(removal.orders)) for removal in removals] == [("canceled", 1), ("suspended", 2)]
    assert removals[0].cancel is not None
    assert len(auditor.book) == 0


async def test_a_server_that_signs_a_lie_is_caught(exchange: Exchange) -> None:
    await traded(exchange)
    key = exchange.running.key
    auditor = Auditor(key.public)
    for line in await ledger(exchange):
        raw = bytes(parse_line(line).record)
        record = decode_record(raw)
        if isinstance(record, Epoch) and record.fills:
            lie = encode_record(replace(record, fills=[]))
            with pytest.raises(LedgerError) as caught:
                auditor.take_entry(Entry(record=Raw(lie), sig=sign(key, lie)))
            assert caught.value.code == "ledger.fills"
            return
        auditor.take(line)
    raise AssertionError("nothing was filled")


async def test_the_command_audits_a_server(exchange: Exchange) -> None:
    await traded(exchange)
    arguments = [f"https://localhost:{exchange.running.port}", "--json"]
    arguments += ["--certificate", str(exchange.running.certificate)]
    result = await asyncio.to_thread(CliRunner().invoke, audit, arguments)
    assert result.exit_code == 0, result.output
    [row] = json.loads(result.output)["markets"]
    assert (row["market"], row["fills"], row["key"]) == ("ltc_btc", 2, exchange.running.key.public.hex())
    wrong = await asyncio.to_thread(CliRunner().invoke, audit, [*arguments, "--key", "02" + "11" * 32])
    assert (wrong.exit_code, json.loads(wrong.output)["code"]) == (1, "ledger.key")


async def test_a_tail_that_was_cut_off_is_found(exchange: Exchange, tmp_path: Path) -> None:
    """By a tip that is known, or by the server's own head; the replay of the rest holds."""
    await traded(exchange)
    await exchange.running.manager.suspend("ltc_btc")
    market = exchange.running.manager.markets["ltc_btc"]
    await until(lambda: market.schedule.stopped(market.now()))
    await (await exchange.guest()).ask(routes.CONFIG, None)
    lines = await ledger(exchange)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.write_bytes(b"\n".join(lines) + b"\n")
    cut.write_bytes(b"\n".join(lines[:-1]) + b"\n")
    head = ["--head", f"https://localhost:{exchange.running.port}"]
    head += ["--certificate", str(exchange.running.certificate)]

    async def audited(*arguments: object) -> tuple[int, str]:
        words = [*map(str, arguments), "--json"]
        result = await asyncio.to_thread(CliRunner().invoke, audit, words)
        told = json.loads(result.output)
        return result.exit_code, told["markets"][0]["tip"] if told["ok"] else told["code"]

    _, tip = await audited(whole)
    assert (await audited(cut))[0] == 0
    assert await audited(whole, "--tip", tip, *head) == (0, tip)
    assert await audited(cut, "--tip", tip) == (1, "ledger.truncated")
    assert await audited(cut, *head) == (1, "ledger.truncated")
