"""Our client believes an explanation only when it is signed, ours, and adds up; others' servers have none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace
from tests.client.world import World, world

from twinlock.client.control import views
from twinlock.client.control.remote import RemoteError, embedded
from twinlock.protocol.messages.account import Reputation
from twinlock.protocol.messages.explain import Explanation, OutcomeRecord
from twinlock.protocol.signing import signed
from twinlock.protocol.wire import Hex

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        yield it


def explanation(it: World, account: bytes, **changes: Any) -> Explanation:
    record = OutcomeRecord(
        account_id=Hex(account),
        outcome=8,
        name="preimage miss",
        score=-2,
        counts=True,
        kind="order",
        link=Hex(bytes(32)),
        market="ltc_btc",
        epoch=3,
        orders=[Hex(bytes(32))],
        stamp=1,
    )
    told = Explanation(
        reputation=Reputation(bonded_tier=1, penalties=0, score=-2),
        penalty_threshold=20,
        cancel_score=0,
        outcomes=[signed(it.server.key, record)],
    )
    return replace(told, **changes)


async def test_a_signed_explanation_is_shown(it: World) -> None:
    (alice,) = await it.funded("alice")
    account = alice.venue().desk.account
    assert account is not None
    it.server.explanation = explanation(it, account.account_id)
    async with embedded(alice) as remote:
        told = await it.call(remote.get("/account/explain", views.ExplanationView))
        assert isinstance(told, views.ExplanationView)
        assert (told.score, [outcome.name for outcome in told.outcomes]) == (-2, ["preimage miss"])


async def test_lies_are_not(it: World) -> None:
    (alice,) = await it.funded("alice")
    account = alice.venue().desk.account
    assert account is not None
    good = explanation(it, account.account_id)
    lies = (
        explanation(it, bytes(32)),
        replace(good, outcomes=[replace(good.outcomes[0], score=-1)]),
        replace(good, cancel_score=-5),
        replace(good, outcomes=[]),
    )
    async with embedded(alice) as remote:
        for lie in lies:
            it.server.explanation = lie
            with pytest.raises(RemoteError):
                await it.call(remote.get("/account/explain", views.ExplanationView))


async def test_a_server_without_the_route_is_named(it: World) -> None:
    (alice,) = await it.funded("alice")
    async with embedded(alice) as remote:
        with pytest.raises(RemoteError) as caught:
            await it.call(remote.get("/account/explain", views.ExplanationView))
        assert caught.value.code == "account.not_explained"
