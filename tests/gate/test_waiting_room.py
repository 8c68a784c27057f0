"""The waiting room: who comes is let in, and those who fill it make room."""

from __future__ import annotations

import pytest

from twinlock.gate.waiting_room import WaitingRoom


def entered(who: str, most: int) -> tuple[WaitingRoom, list[str]]:
    """A room into which some came in that order, each named by its network and a number; those who had to go."""
    room, gone = WaitingRoom(most), list[str]()
    for each in who.split():
        room.enter(each, each[0], lambda each=each: gone.append(each))  # type: ignore[misc]
    return room, gone


@pytest.mark.parametrize(
    ("who", "most", "gone"),
    [
        ("a1 b1 c1", 3, ""),
        ("a1 a2 a3 a4 a5", 3, "a1 a2"),
        ("b1 a1 a2 a3 a4", 3, "a1 a2"),
        ("a1 a2 b1 b2 c1 c2", 4, "a1 b1"),
        ("a1 b1 c1 d1", 3, "a1"),
        ("a1 b1", 1, "a1"),
    ],
)
def test_the_network_with_most_loses_its_oldest(who: str, most: int, gone: str) -> None:
    room, ended = entered(who, most)
    assert ended == gone.split()
    assert len(room) == min(most, len(who.split()))


def test_who_leaves_by_himself_takes_no_room() -> None:
    room, gone = entered("a1 a2", 2)
    room.leave("a1")
    room.leave("a1")
    room.enter("b1", "b", lambda: None)
    assert (len(room), gone) == (2, [])
