"""Whatever can happen to a swap has a story, with either coin on either side; README.md tells of each, of no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.e2e import test_faults, test_fees, test_reorgs

README = (Path(__file__).parent / "README.md").read_text()
MODULES = {"test_faults.py": test_faults, "test_reorgs.py": test_reorgs, "test_fees.py": test_fees}
SIDES = ("maker_sells", "maker_buys")

MATRIX: dict[str, tuple[str, ...]] = {
    "all goes well": ("nobody_at_fault",),
    "the maker is silent": ("maker_silent",),
    "the taker is silent": ("taker_silent",),
    "the maker redeems while the taker sleeps": ("maker_redeems_while_the_taker_sleeps",),
    "a redemption that nobody reports": ("redemptions_are_never_reported",),
    "no redemption": ("maker_never_redeems", "taker_never_redeems"),
    "no address": ("maker_sends_no_address", "taker_sends_no_address"),
    "too little": ("maker_pays_too_little", "taker_pays_too_little"),
    "wrong lock time": ("maker_wrong_lock_time", "taker_wrong_lock_time"),
    "wrong script": ("maker_wrong_script", "taker_wrong_script", "maker_wrong_recipient", "taker_wrong_recipient"),
    "wrong secret hash": ("taker_wrong_secret_hash",),
    "duplicated contract": ("maker_reuses_a_secret", "taker_duplicates_a_contract"),
    "reorganisation of the maker's contract": ("makers_contract_comes_back", "makers_contract_is_double_spent"),
    "reorganisation of the taker's contract": ("takers_contract_comes_back", "takers_contract_is_double_spent"),
    "reorganisation of the maker's redemption": ("makers_redemption_comes_back", "makers_redemption_is_contested"),
    "reorganisation of the taker's redemption": ("takers_redemption_comes_back", "takers_redemption_is_contested"),
    "full blocks": (
        "blocks_fill_up_after_the_makers_redemption",
        "blocks_fill_up_after_the_takers_redemption",
        "no_estimate_costs_more_than_the_budget",
    ),
    "a higher minimum of the mempools": ("minimum_rises_before_the_redemptions", "minimum_rises_before_the_refund"),
}


@pytest.mark.parametrize("condition", MATRIX)
def test_every_condition_has_its_stories_on_both_sides(condition: str) -> None:
    told = {name for module in MODULES.values() for name in module.STORIES}
    assert {f"{story}-{side}" for story in MATRIX[condition] for side in SIDES} <= told


def test_every_story_belongs_to_a_condition() -> None:
    told = {name for module in MODULES.values() for name in module.PLAYS}
    assert {story for stories in MATRIX.values() for story in stories} == told


@pytest.mark.parametrize("file", MODULES)
def test_the_readme_tells_of_each_story_and_of_no_other(file: str) -> None:
    section = README.split(f"`{file}`\n", 1)[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(MODULES[file].PLAYS)


def test_the_files_that_the_readme_names_are_there() -> None:
    assert all((Path(__file__).parent / name).exists() for name in re.findall(r"`(test_\w+\.py)`", README))
