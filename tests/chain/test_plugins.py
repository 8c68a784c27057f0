"""A package with an entry point brings a coin and the family that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from twinlock.chain.bitcoin import BitcoinFamily
from twinlock.chain.coins import coin, coin_by_id
from twinlock.chain.errors import UnknownAssetError
from twinlock.chain.families import family_of
from twinlock.chain.plugins import plugged_in

PLUGIN = """
from dataclasses import replace

from twinlock.chain.bitcoin import BitcoinFamily
from twinlock.chain.coins import coin
from twinlock.chain.plugins import Assets

GRAIN = replace(coin("btc", "regtest"), symbol="grain", name="Grain", asset_id=990, family="grainy", hrp="grain")
ASSETS = Assets(coins=(GRAIN,), families={"grainy": BitcoinFamily})
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package, as pip leaves it: a module and its metadata on the path."""
    (tmp_path / "grain_for_twinlock.py").write_text(PLUGIN)
    about = tmp_path / "grain_for_twinlock-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: grain-for-twinlock\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[twinlock.assets]\ngrain = grain_for_twinlock:ASSETS\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugged_in.cache_clear()
    yield
    plugged_in.cache_clear()


@pytest.mark.usefixtures("plugin")
def test_a_plugged_in_coin_is_like_any_other() -> None:
    grain = coin("grain", "regtest")
    assert coin_by_id(990, "regtest") is grain
    assert isinstance(family_of(grain), BitcoinFamily)
    assert family_of(grain).address_of(b"\x02" + bytes(31) + b"\x01").startswith("grain1q")


def test_a_coin_without_its_family_is_refused() -> None:
    lonely = replace(coin("btc", "regtest"), family="grainy")
    with pytest.raises(UnknownAssetError):
        family_of(lonely)
