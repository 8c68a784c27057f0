"""No hostile course of events costs an honest trader its coin."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.protocol.swap_world import World

from twinlock.protocol.swap import Duty, Ending, Party, ending


def lived(party: Party, seed: int) -> tuple[World, Ending | None]:
    """A world after its whole course, in which the trader did not lose, and how the match ended."""
    world = World(party, Random(seed))
    world.run()
    how = ending(world.swap, party, world.now_s * 1000)
    assert world.has_a_coin, (seed, how, world.owed())
    assert how is not Ending.LOST
    assert how is not None or world.owed(), "neither an ending nor a duty"
    return world, how


@pytest.mark.parametrize("party", Party)
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
@example(seed=11631884)  # the secret leaks to a taker whose contract never went out, after the maker's lock time
def test_an_honest_trader_ends_with_a_coin(party: Party, seed: int) -> None:
    lived(party, seed)


def test_a_hundred_worlds_show_every_ending_and_duty_and_nobody_loses() -> None:
    endings: Counter[tuple[Party, Ending | None]] = Counter()
    done: set[Duty] = set()
    for seed in range(100):
        for party in Party:
            world, how = lived(party, seed)
            endings[party, how] += 1
            done |= world.done
    for party in Party:
        assert {how for who, how in endings if who is party} >= {Ending.SWAPPED, Ending.REFUNDED, Ending.VOID}, endings
    referees = {Duty.RELAY_ADDRESSES, Duty.RELAY_CONTRACT, Duty.RELAY_REDEEM, Duty.REVOKE}
    for_traders = set(Duty) - referees - {Duty.RELEASE_COINS}
    assert done >= for_traders, for_traders - done
