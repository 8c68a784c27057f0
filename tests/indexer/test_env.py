"""Settings: file, environment, flags, in that order; other servers' environment files understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinlock.indexer.env import SETTINGS, UNUSED, Env, EnvError, Service, load, make_env, unused


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
        ({"data_dir": "y", "log_level": "loud"}, "log_level cannot be"),
        ({"daemon_url": "x", "data_dir": "y", "services": ("udp://h:1",)}, "not an address"),
        ({"daemon_url": "x", "data_dir": "y", "memory": "lots"}, "not a size"),
        ({"daemon_url": "x", "data_dir": "y", "max_send": "many"}, "max_send"),
    ],
)
def test_what_cannot_be_used_is_named(flags: dict[str, object], message: str) -> None:
    with pytest.raises(EnvError, match=message):
        make_env(load(None, {}, flags)[0])


NONSENSE = [
    ("coin", "5", "should be text"),
    ("network", "[]", "should be text"),
    ("network", '"moon"', "one of mainnet"),
    ("services", "5", "a list of texts"),
    ("services", "[5]", "should be text"),
    ("services", '["tcp://127.0.0.1:99999"]', "not an address"),
    ("daemon_url", "7", "a list of texts"),
    ("data_dir", "5", "should be text"),
    ("banner_file", "7", "should be text"),
    ("drop_client", '"["', "no regular expression"),
    ("memory", '"10M"', "at least 300M"),
    ("memory", "-1", "not a size"),
    ("max_sessions", "-5", "from 1 to"),
    ("max_sessions", "true", "from 1 to"),
    ("max_send", "1e400", "from 0 to"),
    ("request_timeout", "nan", "from 1 to"),
    ("bandwidth_unit_cost", "0", "from 1 to"),
    ("initial_concurrent", "[1]", "from 1 to"),
    ("subnet_ipv4", "33", "from 0 to 32"),
    ("tor_proxy_port", "99999", "from 0 to 65,535"),
    ("reorg_limit", "-3", "from 0 to"),
]


@pytest.mark.parametrize(("field", "value", "message"), NONSENSE)
def test_nonsense_in_a_file_is_named_with_the_file(field: str, value: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "indexer.toml"
    file.write_text(f"{field} = {value}\n")
    with pytest.raises(EnvError) as error:
        load(file, {}, {})
    assert str(error.value).startswith(f"{file}: ")
    assert message in f"{error.value} {error.value.fix}"


def test_what_is_less_than_wallets_can_do_with_is_raised_and_an_empty_path_is_none() -> None:
    environ = {"DB_DIRECTORY": "d", "MAX_SEND": "5", "BANNER_FILE": "", "SSL_CERTFILE": " "}
    env = make_env(load(None, environ, {})[0])
    assert (env.max_send, env.banner_file, env.ssl_certificate) == (350_000, None, None)
    with pytest.raises(EnvError, match="data_dir is not set"):
        make_env(load(None, {"DB_DIRECTORY": ""}, {})[0])


def test_an_address_is_written_as_it_can_be_read_again() -> None:
    assert str(Service.parse("tcp://[::1]:50001")) == "tcp://[::1]:50001"


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "indexer.toml"
    file.write_text("reorg_limt = 7\n")
    with pytest.raises(EnvError, match="reorg_limt"):
        load(file, {}, {})


DOCUMENTED = [
    "DB_DIRECTORY",
    "DB_ENGINE",
    "DAEMON_URL",
    "COIN",
    "NET",
    "SERVICES",
    "REPORT_SERVICES",
    "SSL_CERTFILE",
    "SSL_KEYFILE",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "LOG_SESSIONS",
    "ANON_LOGS",
    "ALLOW_ROOT",
    "DONATION_ADDRESS",
    "BANNER_FILE",
    "TOR_BANNER_FILE",
    "REORG_LIMIT",
    "EVENT_LOOP_POLICY",
    "DROP_CLIENT",
    "MAX_SESSIONS",
    "MAX_RECV",
    "MAX_SEND",
    "COST_SOFT_LIMIT",
    "COST_HARD_LIMIT",
    "REQUEST_SLEEP",
    "INITIAL_CONCURRENT",
    "BANDWIDTH_UNIT_COST",
    "REQUEST_TIMEOUT",
    "SESSION_TIMEOUT",
    "SESSION_GROUP_BY_SUBNET_IPV4",
    "SESSION_GROUP_BY_SUBNET_IPV6",
    "PEER_DISCOVERY",
    "PEER_ANNOUNCE",
    "FORCE_PROXY",
    "TOR_PROXY_HOST",
    "TOR_PROXY_PORT",
    "BLACKLIST_URL",
    "CACHE_MB",
    "DAEMON_POLL_INTERVAL_BLOCKS",
    "DAEMON_POLL_INTERVAL_MEMPOOL",
    "ELECTRUMX",
    "USERNAME",
]
"""The environment of ElectrumX, as it is documented."""


def test_every_name_of_the_other_server_is_either_followed_or_explained() -> None:
    ours = {setting.variable for setting in SETTINGS}
    assert set(DOCUMENTED) == (ours & set(DOCUMENTED)) | UNUSED.keys()
    assert not ours & UNUSED.keys()
    assert unused({"CACHE_MB": "9", "USERNAME": "me", "COIN": "Bitcoin"}).keys() == {"CACHE_MB"}
    assert unused({"ELECTRUMX": "x", "USERNAME": "me"}).keys() == {"ELECTRUMX", "USERNAME"}


@pytest.mark.parametrize(
    ("text", "on"), [("", False), ("0", False), ("no", False), ("Off", False), ("1", True), ("y", True), ("x", True)]
)
def test_any_text_switches_on(text: str, on: bool) -> None:
    env = make_env(load(None, {"DB_DIRECTORY": "d", "PEER_ANNOUNCE": text, "FORCE_PROXY": text}, {})[0])
    assert (env.peer_announce, env.force_proxy) == (on, on)


def test_every_setting_is_a_field_with_a_help_text() -> None:
    assert {setting.field for setting in SETTINGS} == set(Env.__struct_fields__)
    assert all(setting.help.endswith(".") or "://" in setting.help for setting in SETTINGS)
