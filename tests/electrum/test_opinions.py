"""A server that leaves something out is found out by what another one proves, and nobody else is blamed for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.electrum.test_lies import HONEST, LIAR, SCRIPT, Rig, change, each

from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx, TxIn, TxOut
from twinlock.electrum import methods
from twinlock.electrum.errors import ElectrumError
from twinlock.electrum.opinions import CONFIRM_S, OPINION_S
from twinlock.electrum.simulated import SimulatedServer
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.transport import Endpoint, Transport
from twinlock.electrum.view import ChainView
from twinlock.seams import SeededEntropy

pytestmark = pytest.mark.anyio

LATE = "tcp://late:3"


class Asking(Rig):
    """A view that prefers the liar and asks after a payment; `caught`: who was told of as lying, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.caught: list[tuple[str, str]] = []
        self.point = CoinPoint(bytes.fromhex(self.txid)[::-1], 0)
        self.shown: ChainView

    async def status(self) -> Any:
        return await self.passing(self.shown.output_status(self.point, SCRIPT))

    async def look(self) -> None:
        """Let the other server be asked."""
        await self.clock.advance(OPINION_S)
        for _ in range(40):
            await self.clock.advance(0.25)

    def spend(self) -> str:
        """The payment is spent, in a block."""
        tx = Tx(2, (TxIn(self.point.tx_hash, 0),), (TxOut(120_000, SCRIPT),))
        self.chain.submit(tx.serialize())
        self.chain.mine()
        return tx.txid

    def on_lie(self, server: Endpoint, error: ElectrumError) -> None:
        self.caught.append((server.host, error.code))


@pytest.fixture
async def it() -> AsyncIterator[Asking]:
    it = Asking()
    view = ChainView(
        it.chain.coin, (LIAR, HONEST), clock=it.clock, entropy=SeededEntropy(1), dial=it.dial, on_lie=it.on_lie
    )
    async with view as it.shown:
        yield it


async def test_an_output_that_is_hidden(it: Asking) -> None:
    it.liar.lies[methods.SCRIPT_HISTORY.name] = lambda _: []
    assert await it.status() is None
    await it.look()
    assert it.caught == [("liar", "electrum.lie.history")]
    assert (await it.status()).unspent


async def test_a_spending_that_is_hidden(it: Asking) -> None:
    it.liar.lies[methods.SCRIPT_HISTORY.name] = lambda entries: entries[:1]
    spender = it.spend()
    assert (await it.status()).unspent
    await it.look()
    assert it.caught == [("liar", "electrum.lie.history")]
    assert (await it.status()).spender == spender


async def test_the_mempool_proves_nothing(it: Asking) -> None:
    """The present server may not have heard of it yet."""
    it.liar.lies[methods.SCRIPT_HISTORY.name] = lambda entries: entries[:1]
    tx = Tx(2, (TxIn(it.point.tx_hash, 0),), (TxOut(120_000, SCRIPT),))
    it.chain.submit(tx.serialize())
    assert (await it.status()).unspent
    await it.look()
    assert it.caught == []


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        (methods.SCRIPT_HISTORY.name, each(change(height=50))),
        (methods.SCRIPT_HISTORY.name, lambda _: []),
        (methods.MERKLE.name, change(merkle=["ab" * 32])),
        (methods.TRANSACTION.name, lambda raw: raw[:20]),
    ],
)
async def test_a_lie_of_the_one_that_is_asked_harms_nobody(it: Asking, method: str, lie: Any) -> None:
    it.honest.lies[method] = lie
    it.point = CoinPoint(it.point.tx_hash, 0)
    assert (await it.status()).unspent
    await it.look()
    assert (await it.status()).unspent
    assert it.caught == []


async def test_no_other_server_to_ask(it: Asking) -> None:
    it.honest.down = True
    it.liar.lies[methods.SCRIPT_HISTORY.name] = lambda _: []
    assert await it.status() is None
    await it.look()
    assert it.caught == []
    it.honest.down = False
    assert await it.status() is None
    await it.look()
    await it.look()
    assert it.caught == [("liar", "electrum.lie.history")]


class Late(Asking):
    """The liar is on a stale chain; `late` is honest too, but a block behind just now."""

    def __init__(self) -> None:
        super().__init__()
        stale = SimulatedChain(self.chain.coin)
        stale.mine(115)
        self.chain.mine(3)
        self.liar, self.late = SimulatedServer(stale), SimulatedServer(self.chain)
        self.late.lies[methods.HEADERS_SUBSCRIBE.name] = lambda _: {
            "height": self.chain.height - 1,
            "hex": self.chain.headers[-2].serialize().hex(),
        }

        self.turn_away: bool = False  # whether the liar goes as soon as the late one is asked for its opinion

    async def dial(self, endpoint: Endpoint) -> Transport:
        if endpoint.host != "late":
            return await super().dial(endpoint)
        if self.turn_away and not self.liar.down:
            await self.liar_goes()
            while methods.HEADERS_SUBSCRIBE.name not in self.late.requests:
                await self.clock.sleep(0.25)
            await self.clock.sleep(0.25)
        return await self.late.dial(endpoint)

    async def liar_goes(self) -> None:
        self.liar.down = True
        await self.liar.hang_up()


@pytest.mark.parametrize("during_a_look", [False, True])
async def test_who_has_only_just_taken_over_is_not_blamed_for_the_one_before(*, during_a_look: bool) -> None:
    it = Late()
    servers = (LIAR, LATE, HONEST)
    options: dict[str, Any] = {"clock": it.clock, "entropy": SeededEntropy(1), "dial": it.dial, "on_lie": it.on_lie}
    async with ChainView(it.chain.coin, servers, **options) as view:
        await it.passing(view.tip())
        await it.clock.advance(OPINION_S)
        await it.until(lambda: methods.HEADERS_SUBSCRIBE.name in it.honest.requests and not it.honest.sessions, 9)
        if during_a_look:
            it.turn_away = True
        else:
            await it.liar_goes()
            await it.until(lambda: it.late.sessions == 1, 9)
        await it.clock.advance(CONFIRM_S)
        await it.passing(it.clock.sleep(9))  # for the look that is due to come to its end
        assert (it.liar.down, it.late.sessions) == (True, 1)
        assert it.caught == []
        it.late.lies.clear()
        it.chain.mine()
        await it.clock.advance(2 * OPINION_S)
        assert (it.caught, it.late.sessions) == ([], 1)
