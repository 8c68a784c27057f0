"""Watching scripts: many listeners, few subscriptions, nothing left behind."""

from __future__ import annotations

import pytest
from tests.electrum.test_lies import Rig

from twinlock.chain.coins import coin
from twinlock.chain.script import p2wpkh
from twinlock.electrum import methods
from twinlock.electrum.errors import ServerError
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.view import ChainView
from twinlock.seams import SeededEntropy, VirtualClock

pytestmark = pytest.mark.anyio

COIN = coin("btc", "regtest")
SCRIPT = p2wpkh(bytes(range(20)))
OTHER = p2wpkh(bytes(range(20, 40)))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def subscriptions(server: SimulatedServer) -> tuple[int, int]:
    """How often scripts were subscribed and unsubscribed."""
    return (
        server.requests.count(methods.SCRIPT_SUBSCRIBE.name),
        server.requests.count(methods.SCRIPT_UNSUBSCRIBE.name),
    )


async def test_two_listeners_share_a_subscription_which_ends_with_the_last(rig: Rig) -> None:
    async with rig.view() as view:
        first, second = view.watch(SCRIPT), view.watch(SCRIPT)
        assert await rig.passing(anext(first)) == await rig.passing(anext(second))
        assert subscriptions(rig.liar) == (1, 0)
        await first.aclose()
        await rig.clock.advance(5)
        assert subscriptions(rig.liar) == (1, 0)
        await second.aclose()
        await rig.until(lambda: subscriptions(rig.liar) == (1, 1))
        third = view.watch(SCRIPT)
        assert len((await rig.passing(anext(third))).history) == 1
        assert subscriptions(rig.liar) == (2, 1)


async def test_a_server_too_old_to_unsubscribe_is_not_asked_to() -> None:
    rig = Rig()
    rig.liar.version = "1.4.1"
    async with rig.view() as view:
        states = view.watch(SCRIPT)
        await rig.passing(anext(states))
        await states.aclose()
        await rig.clock.advance(5)
        assert subscriptions(rig.liar) == (1, 0)


async def test_an_empty_history_is_known_from_its_status_alone(rig: Rig) -> None:
    async with rig.view() as view:
        state = await rig.passing(anext(view.watch(OTHER)))
        assert state.history == ()
        assert rig.liar.requests.count(methods.SCRIPT_HISTORY.name) == 0


async def test_a_script_that_the_server_refuses_to_follow_says_so(rig: Rig) -> None:
    chain = SimulatedChain(COIN)
    server = SimulatedServer(chain)
    server.refusals[methods.SCRIPT_SUBSCRIBE.name] = "history too large"
    clock = VirtualClock()
    rig.clock = clock
    async with ChainView(COIN, ["tcp://a:1"], clock=clock, entropy=SeededEntropy(1), dial=server.dial) as view:
        with pytest.raises(ServerError, match="history too large"):
            await rig.passing(anext(view.watch(SCRIPT)))


async def test_subscriptions_are_made_again_on_each_new_connection(rig: Rig) -> None:
    async with rig.view() as view:
        states = view.watch(SCRIPT)
        await rig.passing(anext(states))
        await rig.liar.hang_up()
        await rig.until(lambda: subscriptions(rig.honest) == (1, 0))
        rig.chain.pay(SCRIPT, 1_000)
        assert len((await rig.passing(anext(states))).history) == 2
