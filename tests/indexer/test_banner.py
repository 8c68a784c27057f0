"""The banner is read anew for each wallet, and words in it are filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.indexer.wire import Wallet
from tests.indexer.worlds import World, world

from twinlock import __version__
from twinlock.indexer.banner import SOFTWARE, banner
from twinlock.indexer.daemon import DaemonGoneError
from twinlock.indexer.env import Env, make_env

pytestmark = pytest.mark.anyio


class Versions:
    """A node that says who it is, or is gone."""

    def __init__(self, gone: bool = False) -> None:
        self._gone = gone

    async def call(self, method: str, /, *params: Any) -> Any:
        if self._gone:
            raise DaemonGoneError("gone")
        return {"version": 290_500, "subversion": "/Satoshi:29.5.0/"}

    async def raw(self, method: str, /, *params: Any) -> bytes:
        raise NotImplementedError


async def test_words_are_filled_in(tmp_path: Path) -> None:
    file = tmp_path / "banner"
    file.write_text("$SERVER_VERSION|$SERVER_SUBVERSION|$DAEMON_VERSION|$DAEMON_SUBVERSION|$DONATION_ADDRESS|$OTHER")
    env = Env(data_dir=tmp_path, banner_file=file, donation_address="bc1q")
    filled = f"{__version__}|{SOFTWARE}|29.5.0|/Satoshi:29.5.0/|bc1q|$OTHER"
    assert await banner(env, Versions(), tor=False) == filled
    assert "|unknown|unknown|" in await banner(env, Versions(gone=True), tor=False)


async def test_a_changed_file_is_shown_at_once_and_a_missing_one_is_no_trouble(tmp_path: Path) -> None:
    file, onion = tmp_path / "banner", tmp_path / "onion"
    env = Env(data_dir=tmp_path, banner_file=file, tor_banner_file=onion)
    assert SOFTWARE in await banner(env, Versions(), tor=False)
    file.write_text("first")
    assert await banner(env, Versions(), tor=False) == "first"
    file.write_text("second")
    assert await banner(env, Versions(), tor=True) == "second"
    onion.write_text("hidden")
    assert await banner(env, Versions(), tor=True) == "hidden"
    file.write_bytes(b"\xff\xfe")
    assert SOFTWARE in await banner(env, Versions(), tor=False)


async def test_wallets_see_it(tmp_path: Path) -> None:
    file = tmp_path / "banner"
    file.write_text("hello from $SERVER_VERSION")
    async with world(banner_file=file, donation_address="me") as w:
        assert isinstance(w, World)
        wallet = await Wallet.connect(w.port)
        assert await wallet.call("server.banner") == f"hello from {__version__}"
        assert await wallet.call("server.donation_address") == "me"
        wallet.close()


async def test_a_coins_custom_is_kept_unless_something_is_set() -> None:
    assert make_env({"coin": "doge", "data_dir": Path()}).max_send == 10_000_000
    assert make_env({"coin": "doge", "data_dir": Path(), "max_send": 1}).max_send == 1
    assert make_env({"data_dir": Path()}).max_send == 8_100_000
