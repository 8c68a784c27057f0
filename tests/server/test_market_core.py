"""The market as a pure machine: a log of inputs replays to equal outputs, and refusals change nothing."""

from __future__ import annotations

import random
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from twinlock.protocol.epoch import verify_proof
from twinlock.protocol.orders import (
    CancelOrder,
    LimitOrder,
    MarketOrder,
    Order,
    Side,
    TimeInForce,
    commit,
    order_id,
)
from twinlock.server.market.core import Close, Closed, Input, MarketCore, Output, Process, Processed, Submit, replay
from twinlock.server.market.errors import (
    CancelLimitError,
    CommitmentReusedError,
    EpochMissedError,
    NotCancellableError,
    TargetTakenError,
)
from twinlock.server.market.terms import MarketTerms

LOT, STEP, EPOCH_MS = 1_000, 100, 10_000
TERMS = MarketTerms(
    name="ltc_btc",
    base=2,
    quote=0,
    lot_size=LOT,
    rate_step=STEP,
    epoch_ms=EPOCH_MS,
    buy_buffer=1.25,
    parcel_size=4,
)


def preimage_of(number: int) -> bytes:
    return sha256(number.to_bytes(8, "big")).digest()


def named(order: Order) -> Order:
    return replace(order, id=order_id(order))


def trade(
    number: int, *, at: int = 0, owner: int = 1, side: Side = Side.SELL, lots: int = 1, rate: int = STEP
) -> Order:
    return named(
        LimitOrder(
            id=b"",
            account_id=bytes([owner]) * 32,
            base=2,
            quote=0,
            client_time=at,
            server_time=at,
            commitment=commit(preimage_of(number)),
            coins=(number.to_bytes(36, "big"),),
            side=side,
            quantity=lots * LOT,
            address="somewhere",
            rate=rate,
            time_in_force=TimeInForce.STANDING,
        )
    )


def cancel(number: int, target: bytes, *, at: int = 0, owner: int = 1) -> Order:
    return named(
        CancelOrder(
            id=b"",
            account_id=bytes([owner]) * 32,
            base=2,
            quote=0,
            client_time=at,
            server_time=at,
            commitment=commit(preimage_of(number)),
            target_id=target,
        )
    )


def random_log(seed: int, epochs: int) -> list[Input]:
    """Some epochs of orders, cancels and misses, as a live market would have seen them."""
    draw = random.Random(seed)
    core, log, number = MarketCore(TERMS), list[Input](), 0
    for epoch in range(1, epochs + 1):
        preimages: dict[bytes, bytes] = {}
        for _ in range(draw.randrange(6)):
            number += 1
            at = epoch * EPOCH_MS + draw.randrange(EPOCH_MS)
            order = _random_order(draw, core, number, at)
            core.submit(Submit(order))
            log.append(Submit(order))
            if draw.random() < 0.9:
                preimages[order.id] = preimage_of(number)
        for event in (Close(epoch), Process(epoch, preimages, 1, 2, (epoch + 1) * EPOCH_MS)):
            core.apply(event)
            log.append(event)
    return log


def _random_order(draw: random.Random, core: MarketCore, number: int, at: int) -> Order:
    booked = [order for order in core.book if order.account_id == bytes([number % 3]) * 32]
    if booked and draw.random() < 0.2:
        target = draw.choice(booked)
        own = [order for order in core.epoch_orders() if isinstance(order, CancelOrder)]
        if len(own) < 1:
            return cancel(number, target.id, at=at, owner=number % 3)
    side = draw.choice(list(Side))
    return trade(
        number, at=at, owner=number % 3, side=side, lots=draw.randrange(1, 5), rate=STEP * draw.randrange(1, 5)
    )


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_a_log_replays_to_equal_bytes(seed: int, epochs: int) -> None:
    log = random_log(seed, epochs)
    first, second = replay(MarketCore(TERMS), log), replay(MarketCore(TERMS), log)
    assert msgspec.msgpack.encode(first) == msgspec.msgpack.encode(second)


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_every_processed_epoch_proves_itself(seed: int) -> None:
    log = random_log(seed, 6)
    outputs: list[Output] = replay(MarketCore(TERMS), log)
    closed = {output.epoch: output for output in outputs if isinstance(output, Closed)}
    for output in outputs:
        if isinstance(output, Processed):
            seen = {order.id: order.commitment for order in closed[output.epoch].orders}
            misses = [order.id for order in output.missed]
            queue = verify_proof(seen, output.preimages, misses, output.csum, output.seed)
            assert queue.order_ids == [order.id for order in output.revealed]
            ended = [order.id for order, _ in output.matched.statuses()]
            assert set(queue.order_ids) <= set(ended)
            assert len(ended) == len(set(ended))


def test_an_order_comes_too_late_for_a_closed_epoch() -> None:
    core = MarketCore(TERMS)
    core.close(Close(5))
    with pytest.raises(EpochMissedError):
        core.submit(Submit(trade(1, at=5 * EPOCH_MS)))
    core.submit(Submit(trade(1, at=6 * EPOCH_MS)))


def test_epochs_are_processed_in_order() -> None:
    core = MarketCore(TERMS)
    core.close(Close(1))
    core.close(Close(2))
    with pytest.raises(EpochMissedError):
        core.process(Process(2, {}, 1, 1, 0))
    core.process(Process(1, {}, 1, 1, 0))
    core.process(Process(2, {}, 1, 1, 0))


def test_a_commitment_is_free_again_once_its_epoch_is_processed() -> None:
    core = MarketCore(TERMS)
    core.submit(Submit(trade(1, at=EPOCH_MS)))
    with pytest.raises(CommitmentReusedError):
        core.submit(Submit(trade(1, at=2 * EPOCH_MS)))
    core.close(Close(1))
    core.process(Process(1, {}, 1, 1, 0))
    core.submit(Submit(trade(1, at=2 * EPOCH_MS)))


def test_rules_of_cancels() -> None:
    orders = [trade(number, owner=1) for number in range(1, 4)]
    core = MarketCore(TERMS, [order for order in orders if isinstance(order, LimitOrder)])
    with pytest.raises(NotCancellableError):
        core.submit(Submit(cancel(10, bytes(32))))
    with pytest.raises(TargetTakenError):
        core.submit(Submit(cancel(11, orders[0].id, owner=2)))
    core.submit(Submit(cancel(12, orders[0].id)))
    with pytest.raises(TargetTakenError):
        core.submit(Submit(cancel(13, orders[0].id)))
    core.submit(Submit(cancel(14, orders[1].id)))
    with pytest.raises(CancelLimitError):
        core.submit(Submit(cancel(15, orders[2].id)))
    core.submit(Submit(cancel(16, orders[2].id, at=EPOCH_MS)))


def test_market_orders_cannot_be_cancelled() -> None:
    core = MarketCore(TERMS)
    limit = trade(1)
    assert isinstance(limit, LimitOrder)
    members = {name: getattr(limit, name) for name in MarketOrder.__struct_fields__}
    market = named(MarketOrder(**members))
    core.submit(Submit(market))
    with pytest.raises(NotCancellableError):
        core.submit(Submit(cancel(2, market.id)))


def test_the_last_rate_is_repeated_where_nothing_trades() -> None:
    core = MarketCore(TERMS, last_rate=700)
    core.close(Close(1))
    report = core.process(Process(1, {}, 1, 1, 0)).report
    assert (report.high_rate, report.low_rate, report.start_rate, report.end_rate) == (700,) * 4
    assert (report.match_volume, report.summary) == (0, ())
