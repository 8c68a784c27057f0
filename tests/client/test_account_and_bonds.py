"""Logging in, finding the account from the seed, and the life of a bond, on simulated chains."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.client.fake_server import BOND, BTC, LOT, MARKET
from tests.client.world import FUNDS, RATE, World, world

from twinlock.chain.keys import PrivateKey
from twinlock.client.account import log_in
from twinlock.client.control import views
from twinlock.client.control.remote import embedded
from twinlock.client.errors import BondError, MisbehaviourError, OrderError
from twinlock.client.events import Disconnected, Notice, ServerAccused
from twinlock.client.store.records import AccountRecord
from twinlock.protocol import signing
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.account import BondExpired, Reputation, TierChange
from twinlock.protocol.orders import Side
from twinlock.protocol.wire import Hex

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        yield it


def bend(it: World, route: str, **members: Any) -> None:
    """Let the server change members of what it sends on a route."""

    def change(name: str, payload: Any) -> Any:
        return msgspec.structs.replace(payload, **members) if name == route else payload

    it.server.bend = change


async def reasons(it: World, name: str) -> list[str]:
    await it.start(name)
    await it.clock.advance(8)
    return [event.reason for event in it.events[name] if isinstance(event, Disconnected)]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"api_version": 2}, "session.version"),
        ({"api_version": 4}, "session.version"),
        ({"broadcast_timeout_ms": 0}, "session.misbehaved"),
        ({"assets": []}, "session.misbehaved"),
    ],
)
async def test_a_server_that_offers_nonsense_is_not_used(it: World, members: dict[str, Any], code: str) -> None:
    bend(it, "config:result", **members)
    assert any(code in reason for reason in await reasons(it, "alice"))
    assert not it.traders["alice"].venue().desk.session.ready.is_set()
    assert not it.server.asked("connect")


async def test_a_login_that_the_server_did_not_sign_is_refused(it: World) -> None:
    await it.funded("alice")
    await it.stop("alice")
    bend(it, "connect:result", sig=Hex(bytes(70)))
    assert any("session.signature" in reason for reason in await reasons(it, "alice"))


async def test_a_server_that_changes_its_key_is_not_trusted_again(it: World) -> None:
    await it.funded("alice")
    await it.stop("alice")
    it.server.key = PrivateKey(b"\x08" * 32)
    assert any("session.key_changed" in reason for reason in await reasons(it, "alice"))


async def test_the_account_is_found_again_from_the_seed_alone(it: World) -> None:
    (alice,) = await it.funded("alice")
    account = alice.venue().desk.account
    assert account is not None
    identity, before = account.account_id, it.total("alice")
    await it.stop("alice")
    del it.stores["alice"]
    again = await it.start("alice")
    await it.until(again.venue().desk.session.ready.is_set)
    found = again.venue().desk.account
    assert found is not None
    assert found.account_id == identity
    assert again.venue().bonds.tier == 1
    await it.until(lambda: [bond.state for bond in again.bonds()] == ["posted"])
    assert again.wallet("btc").balance().bonded == BOND
    assert it.total("alice") == before
    for _ in range(42):
        await it.mine(seconds=30)
        await it.clock.advance(29)
    assert [bond.state for bond in again.bonds()] == ["refunded"]
    assert again.wallet("btc").balance().bonded == 0


async def test_discovery_steps_over_accounts_whose_bonds_have_expired(it: World) -> None:
    (alice,) = await it.funded("alice")
    account = alice.venue().desk.account
    assert account is not None
    spent = it.server.accounts[account.account_id]
    spent.bonds.clear()
    await it.stop("alice")
    del it.stores["alice"]
    again = await it.start("alice")
    await it.until(again.venue().desk.session.ready.is_set)
    found = again.venue().desk.account
    assert found is not None
    assert (found.key_index, again.venue().desk.logged_in) == (1, False)


async def test_nothing_is_broadcast_that_the_server_would_not_take(it: World) -> None:
    (alice,) = await it.funded("alice")
    it.server.refuse["prevalidatebond"] = RpcError(ErrorCode.BOND, "too small")
    before = len(it.chains[BTC].mempool)
    with pytest.raises(RpcError):
        await it.call(alice.register("btc"))
    it.server.refuse.clear()
    bend(it, "prevalidatebond:result", sig=Hex(bytes(70)))
    with pytest.raises(MisbehaviourError):
        await it.call(alice.register("btc"))
    with pytest.raises(BondError):
        await it.call(alice.register("ltc"))
    assert len(it.chains[BTC].mempool) == before
    balance = alice.wallet("btc").balance()
    assert (balance.locked, len(alice.bonds())) == (0, 1)


async def test_a_bond_is_posted_again_until_the_server_answers(it: World) -> None:
    alice = await it.start("alice")
    it.server.refuse["postbond"] = RpcError(ErrorCode.BOND_CONFIRMING, "still waiting")
    with pytest.raises(TimeoutError):
        await it.funded("alice")
    alice = it.traders["alice"]
    assert [bond.state for bond in alice.bonds()] == ["confirmed"]
    it.server.refuse.clear()
    it.server.mute.add("postbond")
    await it.clock.advance(90)
    it.server.mute.clear()
    await it.until(lambda: alice.venue().bonds.tier == 1)
    assert len(it.server.asked("postbond")) > 3


@pytest.mark.parametrize("state", ["signed", "broadcast", "confirmed"])
async def test_a_bond_survives_a_crash_in_every_state(it: World, state: str) -> None:
    (alice,) = await it.funded("alice")
    account = alice.venue().desk.account
    assert account is not None
    it.server.accounts.clear()
    (bond,) = alice.bonds()
    bond.state = state
    alice.venue().desk.store.put(bond)
    await it.stop("alice")
    again = await it.start("alice")
    await it.until(lambda: again.venue().bonds.tier == 1)
    assert [bond.state for bond in again.bonds()] == ["posted"]
    assert again.venue().desk.logged_in


async def test_an_expired_bond_comes_back_and_another_takes_its_place(it: World) -> None:
    (alice,) = await it.funded("alice")
    account = alice.venue().desk.account
    assert account is not None
    account.target_tier = 1
    (first,) = alice.bonds()
    for _ in range(40):
        await it.mine(seconds=30)
        await it.clock.advance(29)
    assert first.state == "refunded"
    states = [bond.state for bond in alice.bonds()]
    assert states.count("posted") >= 1
    balance = alice.wallet("btc").balance()
    assert balance.bonded == sum(b.amount for b in alice.bonds() if b.state not in ("refunding", "refunded"))
    assert FUNDS - balance.total < 40_000
    await it.server.hang_up()
    await it.clock.advance(8)
    assert first.state == "refunded", "a server that still counts it does not bring it back"


async def test_notes_about_our_standing_are_believed_only_with_a_signature(it: World) -> None:
    (alice,) = await it.funded("alice")
    account = alice.venue().desk.account
    assert account is not None
    peer = it.server.accounts[account.account_id].peer
    assert peer is not None
    reputation = Reputation(bonded_tier=9, penalties=0, score=60)
    forged = signing.signed(PrivateKey(b"\x09" * 32), TierChange(tier=9, reputation=reputation, reason="gift"))
    await peer.tell("tierchange", forged)
    await it.clock.advance(1)
    assert alice.venue().bonds.tier == 1
    await peer.tell("tierchange", it.server.signed(TierChange(tier=9, reputation=reputation, reason="gift")))
    await it.clock.advance(1)
    assert alice.venue().bonds.tier == 9
    (bond,) = alice.bonds()
    note = BondExpired(
        account_id=Hex(account.account_id),
        asset_id=BTC,
        coin_id=Hex(bond.coin_id),
        tier=0,
        reputation=Reputation(bonded_tier=0, penalties=0, score=0),
    )
    await peer.tell("bondexpired", it.server.signed(note))
    await it.clock.advance(1)
    assert (alice.venue().bonds.tier, bond.state, bond.amount) == (0, "expired", BOND)


async def test_without_an_account_no_order_leaves(it: World) -> None:
    alice = await it.start("alice")
    await it.until(alice.venue().desk.session.ready.is_set)
    with pytest.raises(OrderError) as caught:
        await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
    assert caught.value.code == "order.account"
    assert await it.call(log_in(alice.venue().desk)) is None
    record = it.stores["alice"].get(AccountRecord, alice.venue().desk.host)
    assert record is not None
    assert not record.exists


async def test_a_prepaid_code_makes_an_account_without_a_coin(it: World) -> None:
    alice = await it.start("alice")
    await it.until(alice.venue().desk.session.ready.is_set)
    with pytest.raises(RpcError):
        await it.call(alice.venue().bonds.redeem_code(b"\x01" * 16))
    it.server.codes[b"\x02" * 16] = 3
    assert await it.call(alice.venue().bonds.redeem_code(b"\x02" * 16)) == 3
    assert (alice.venue().bonds.tier, alice.venue().desk.logged_in) == (3, True)
    with pytest.raises(BondError):
        await it.call(alice.venue().bonds.redeem_code(b"\x02"))
    it.server.codes[b"\x03" * 16] = 1
    assert await it.call(alice.venue().bonds.redeem_code(b"\x03" * 16)) == 1
    for again in (False, True):
        if again:
            await it.server.hang_up()
            await it.clock.advance(8)
        assert (alice.venue().bonds.tier, alice.bonds()) == (4, [])
        async with embedded(alice) as remote:
            shown = await remote.get("/bonds", list[views.BondView])
        assert [(bond.state, bond.strength, bond.lock_time) for bond in shown] == [
            ("prepaid", 3, 2**32 - 1),
            ("prepaid", 1, 2**32 - 1),
        ]


async def test_a_book_that_cannot_be_had_keeps_nobody_from_the_rest(it: World) -> None:
    it.server.refuse["orderbook"] = RpcError(ErrorCode.MARKET_NOT_RUNNING, "not now")
    (alice,) = await it.funded("alice")
    assert (alice.venue().bonds.tier, alice.venue().feeds) == (1, {})
    order = await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
    assert (order.status, alice.venue().feeds) == ("epoch", {})  # type: ignore[attr-defined]
    assert any("not replayed" in event.text for event in it.events["alice"] if isinstance(event, Notice))
    bought = await it.call(alice.market(MARKET, Side.BUY, 100_000))
    assert bought.status == "epoch"  # type: ignore[attr-defined]
    it.server.refuse.clear()
    await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
    assert list(alice.venue().feeds) == [MARKET]


async def test_prices_that_cannot_be_had_keep_nobody_out(it: World) -> None:
    (alice,) = await it.funded("alice")
    it.server.refuse["price_feed"] = RpcError(ErrorCode.TOO_MANY_REQUESTS, "too many price_feed requests")
    await it.server.hang_up()
    await it.clock.advance(60)
    assert (alice.venue().desk.logged_in, list(alice.venue().feeds)) == (True, [MARKET])
    assert [type(event) for event in it.events["alice"]].count(Disconnected) == 1
    assert any("does not tell prices" in event.text for event in it.events["alice"] if isinstance(event, Notice))


async def test_a_defect_in_the_login_stops_neither_bonds_nor_swaps(it: World) -> None:
    await it.funded("alice", "bob")
    await it.matched()

    def nonsense(route: str, payload: Any) -> Any:
        return msgspec.structs.replace(payload, active_orders=payload.active_bonds) if "connect" in route else payload

    await it.server.hang_up()
    it.server.bend = nonsense
    await it.clock.advance(30)
    it.server.bend = lambda _, payload: payload
    await it.settle(lambda: it.swap("alice").outcome == it.swap("bob").outcome == "swapped")


async def test_a_server_that_lost_its_database_gets_the_same_bond_again(it: World) -> None:
    await it.funded("alice", "bob")
    swap, _ = await it.matched()
    alice = it.traders["alice"]
    booked = await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
    it.server.accounts.clear()
    it.server.statuses.clear()
    it.server.matches.clear()
    await it.server.hang_up()
    await it.clock.advance(8)
    await it.until(lambda: all(trader.venue().bonds.tier == 1 for trader in it.traders.values()))
    assert [bond.state for bond in alice.bonds()] == ["posted"]
    assert booked.status == "revoked"  # type: ignore[attr-defined]
    assert any(
        event.accusation.count("was accepted") for event in it.events["alice"] if isinstance(event, ServerAccused)
    )
    assert swap in alice.swaps()
    again = await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE))
    assert again.status == "epoch"  # type: ignore[attr-defined]
    await it.pass_locks(it.clock.now_ms() // 1000 + 1300)
    await it.settle(lambda: bool(swap.outcome))


async def test_where_the_old_bond_is_refused_a_new_one_is_made_once(it: World) -> None:
    (alice,) = await it.funded("alice")
    account = alice.venue().desk.account
    assert account is not None
    account.target_tier = 1
    it.server.accounts.clear()
    it.server.refuse["postbond"] = RpcError(ErrorCode.BOND, "unknown transaction")
    await it.server.hang_up()
    await it.until(lambda: [bond.state for bond in alice.bonds()] == ["expired"])
    await it.clock.advance(60)
    assert len(alice.bonds()) == 1, "a server that refuses one bond is not given the next by itself"
    it.server.refuse.clear()
    await it.call(alice.register("btc"))
    await it.mine()
    await it.until(lambda: alice.venue().bonds.tier == 1)
    assert alice.venue().desk.logged_in
