"""One trader, one seed, two exchange servers at once: accounts, bonds, orders and swaps do not touch each other."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest
from tests.client.fake_server import BOND, BTC, LOT, MARKET, FakeServer
from tests.client.world import HOST, RATE, World, world

from twinlock.chain.keys import PrivateKey
from twinlock.client.config import ClientConfig, ServerConfig
from twinlock.client.link import Dialer
from twinlock.client.trader import Trader
from twinlock.protocol.orders import Side

OTHER = "other.test:7232"

pytestmark = pytest.mark.anyio


class TwoServers(World):
    """The world with a second server, whose key is another."""

    def __init__(self) -> None:
        super().__init__()
        self.second = FakeServer(self.clock, self.chains)
        self.second.key = PrivateKey(b"\x0b" * 32)

    def config(self) -> ClientConfig:
        plain = super().config()
        return msgspec.structs.replace(plain, servers=(*plain.servers, ServerConfig(host=OTHER, follow=(MARKET,))))

    def _dialer(self, fuse: object, server: ServerConfig) -> Dialer:
        return self.second.dial if server.host == OTHER else super()._dialer(fuse, server)  # type: ignore[arg-type]


def ready(trader: Trader) -> bool:
    return all(venue.bonds.tier == 1 and venue.desk.logged_in for venue in trader.venues.values())


async def test_two_servers_at_once_from_one_seed() -> None:
    async with world(TwoServers()) as it:
        assert isinstance(it, TwoServers)
        try:
            await both(it)
        finally:
            await it.second.hang_up()


async def both(it: TwoServers) -> None:
    alice, bob = await it.funded("alice", "bob")
    for trader in (alice, bob):
        await it.call(trader.register("btc", host=OTHER))
    await it.until(lambda: len(it.chains[BTC].mempool) == 2)
    await it.mine()
    await it.until(lambda: ready(alice) and ready(bob))
    accounts = [venue.desk.account.account_id for venue in alice.venues.values() if venue.desk.account]
    assert len(set(accounts)) == 2, "each server has an account of its own"
    assert alice.wallet("btc").balance().bonded == 2 * BOND

    for server, host in ((it.second, OTHER), (it.server, HOST)):
        await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE, host=host))
        await it.call(server.close_epoch())
        await it.call(bob.limit(MARKET, Side.BUY, LOT, RATE, host=host))
        await it.call(server.close_epoch())
        await it.clock.advance(0.5)
    assert list(alice.venues) == [HOST, OTHER]
    assert [swap.host for swap in alice.swaps()] == [OTHER, HOST], "oldest first"
    assert [order.host for order in alice.orders()] == [OTHER, HOST]

    await it.second.hang_up()
    it.second.down = True  # One server is gone; the other's business goes on, and swaps need neither for long.
    await it.stop("alice")
    alice = await it.start("alice")
    await it.until(alice.venue().desk.session.ready.is_set)
    assert alice.venue(OTHER).desk.logged_in is False
    assert (await it.call(alice.limit(MARKET, Side.SELL, LOT, RATE, host=HOST))).status == "epoch"  # type: ignore[attr-defined]
    it.second.down = False
    await it.until(partial(ready, alice))
    await it.settle(lambda: all(s.outcome == "swapped" for trader in it.traders.values() for s in trader.swaps()))


async def test_each_server_is_found_again_from_the_seed() -> None:
    async with world(TwoServers()) as it:
        assert isinstance(it, TwoServers)
        (alice,) = await it.funded("alice")
        await it.call(alice.register("btc", host=OTHER))
        await it.mine()
        await it.until(lambda: ready(alice))
        known = {host: venue.desk.account for host, venue in alice.venues.items()}
        await it.stop("alice")
        del it.stores["alice"]
        again = await it.start("alice")
        await it.until(partial(ready, again))
        for host, venue in again.venues.items():
            before, found = known[host], venue.desk.account
            assert before is not None
            assert found is not None
            assert found.account_id == before.account_id
        await it.second.hang_up()
