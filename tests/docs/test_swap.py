"""The page on swaps shows the very tables by which they go."""

from __future__ import annotations

from pathlib import Path

from twinlock.protocol.swap.duties import Duty
from twinlock.protocol.swap.state import LegStatus
from twinlock.protocol.swap.transitions import LEG, Sighting

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "swap.md"
ROWS = {tuple(cell.strip(" `") for cell in line.strip("|").split("|")) for line in PAGE.read_text().splitlines()}


def test_the_transitions_are_those_of_the_table() -> None:
    assert ("From", *(sighting.name for sighting in Sighting)) in ROWS
    for status in LegStatus:
        after = (LEG[status][sighting] for sighting in Sighting)
        assert (status.name, *("" if to in (None, status) else to.name for to in after)) in ROWS


def test_statuses_sightings_and_duties_mean_what_the_page_says() -> None:
    assert {(each.name, each.value) for kind in (LegStatus, Sighting, Duty) for each in kind} <= ROWS
