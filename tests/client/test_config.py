"""The configuration file: what it means, and that mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinlock.client.config import ServerConfig, load, parse
from twinlock.client.errors import ConfigError

MINIMAL = """
data_dir = "/tmp/trader"
network = "regtest"
[[wallets]]
symbol = "btc"
electrum = ["tcp://127.0.0.1:1"]
"""


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("dex.example.org", "wss://dex.example.org:7232/ws"),
        ("dex.example.org:99", "wss://dex.example.org:99/ws"),
        ("[::1]:99", "wss://[::1]:99/ws"),
        ("abcdef.onion:7232", "ws://abcdef.onion:7232/ws"),
    ],
)
def test_the_url_follows_from_the_host(host: str, url: str) -> None:
    assert ServerConfig(host=host).url == url


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (MINIMAL + "wrong = 1", "wrong"),
        (MINIMAL.replace("regtest", "moonnet"), "network"),
        (MINIMAL + '[[wallets]]\nsymbol = "btc"\nelectrum = []', "one wallet"),
        (MINIMAL.replace("regtest", "mainnet") + "[locks]\nmaker = 10", "mainnet"),
        ("data_dir = ", "not valid"),
    ],
)
def test_mistakes_are_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse(text)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "none.toml")


def test_defaults_are_those_of_the_protocol() -> None:
    config = parse(MINIMAL)
    assert (config.locks.maker, config.locks.taker) == (72_000, 28_800)
    assert (config.pace.reconnect_step, config.pace.reconnect_most, config.pace.request_timeout) == (5, 60, 60)
    assert not config.control.allow_withdraw
