"""Settings: file, environment, flags, in that order; other servers' environment files understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinlock.indexer.env import SETTINGS, Env, EnvError, Service, load, make_env


def test_later_sources_win_and_each_origin_is_known(tmp_path: Path) -> None:
    file = tmp_path / "indexer.toml"
    file.write_text('coin = "ltc"\nreorg_limit = 7\nmemory = "400M"\nservices = ["tcp://127.0.0.1:1"]\n')
    environ = {"REORG_LIMIT": "8", "DAEMON_URL": "u:p@host:1, other", "DB_DIRECTORY": "/data"}
    settings, origins = load(file, environ, {"reorg_limit": "9"})
    env = make_env(settings)
    assert (env.coin, env.reorg_limit, env.memory) == ("ltc", 9, 400 << 20)
    assert (env.daemon_url, env.data_dir) == ("http://u:p@host:1,http://other", Path("/data"))
    assert env.daemon_urls == ("http://u:p@host:1", "http://other")
    assert origins["coin"] == str(file)
    assert origins["daemon_url"] == "$DAEMON_URL"
    assert origins["reorg_limit"] == "--reorg-limit"


def test_an_environment_that_another_server_was_run_with() -> None:
    environ = {
        "COIN": "Bitcoin",
        "NET": "regtest",
        "DAEMON_URL": "http://u:p@127.0.0.1:18443/",
        "DB_DIRECTORY": "dir",
        "SERVICES": "tcp://127.0.0.1:51001,ssl://127.0.0.1:51002,rpc://",
        "COST_SOFT_LIMIT": "0",
        "COST_HARD_LIMIT": "0",
        "MAX_SEND": "100000000",
    }
    env = make_env(load(None, environ, {})[0])
    assert (env.coin, env.network, env.max_send) == ("btc", "regtest", 100_000_000)
    assert [str(service) for service in env.wallet_services] == ["tcp://127.0.0.1:51001", "ssl://127.0.0.1:51002"]
    assert env.local_service("rpc") == Service("rpc", "127.0.0.1", 8000)
    assert not env.limits_cost


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "data_dir is not set"),
        ({"data_dir": "y", "peer_discovery": "perhaps"}, "peer_discovery"),
        ({"data_dir": "y", "report_services": "rpc://h:1"}, "for the operator alone"),
        ({"daemon_url": "x", "data_dir": "y", "services": ("udp://h:1",)}, "not an address"),
        ({"daemon_url": "x", "data_dir": "y", "memory": "lots"}, "not a size"),
        ({"daemon_url": "x", "data_dir": "y", "max_send": "many"}, "max_send"),
    ],
)
def test_what_cannot_be_used_is_named(flags: dict[str, object], message: str) -> None:
    with pytest.raises(EnvError, match=message):
        make_env(load(None, {}, flags)[0])


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "indexer.toml"
    file.write_text("reorg_limt = 7\n")
    with pytest.raises(EnvError, match="reorg_limt"):
        load(file, {}, {})


def test_every_setting_is_a_field_with_a_help_text() -> None:
    assert {setting.field for setting in SETTINGS} == set(Env.__struct_fields__)
    assert all(setting.help.endswith(".") or "://" in setting.help for setting in SETTINGS)
