"""What lies in the data directory: configuration, signing key, certificate."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from tests.server.conftest import DATABASE, Exchange

from twinlock.seams import SeededEntropy
from twinlock.server.comms.tls import ensure_certificate
from twinlock.server.config import load_config, parse_config
from twinlock.server.errors import ConfigError
from twinlock.server.keyfile import KEY_FILE, Cost, KeyFileError, ensure_signing_key, open_signing_key

GOOD = """
[server]
data_dir = "data"
network = "regtest"
[[assets]]
symbol = "btc"
electrum = ["tcp://127.0.0.1:50001"]
max_fee_rate = 20
swap_conf = 1
bond_amount = 1000000
[[assets]]
symbol = "ltc"
electrum = ["tcp://127.0.0.1:50002"]
max_fee_rate = 20
swap_conf = 1
[[markets]]
base = "ltc"
quote = "btc"
lot_size = 1000000
rate_step = 100
"""


def test_a_relative_data_directory_is_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(GOOD)
    assert load_config(file).server.data_dir == tmp_path / "data"


@pytest.mark.parametrize(
    ("old", "new", "mentions"),
    [
        ('network = "regtest"', 'network = "moon"', "network"),
        ('base = "ltc"', 'base = "doge"', "doge"),
        ('base = "ltc"', 'base = "btc"', "for itself"),
        ("lot_size = 1000000", "lot_size = 0", "lot_size"),
        ("bond_amount = 1000000", "", "bond"),
        ('data_dir = "data"', 'data_dir = "data"\nlisten = "localhost"', "port"),
        ('data_dir = "data"', 'data_dir = "data"\nlock_time_taker_s = 900000', "lock"),
        ('data_dir = "data"', 'data_dir = "data"\nlisten = "127.0.0.1:70000"', "no such port"),
        ('data_dir = "data"', 'data_dir = "data"\nlisten = "7232"', "has no port"),
        ('data_dir = "data"', 'data_dir = "data"\nadmin_listen = "127.0.0.1:1"', "needs a password"),
        (
            'data_dir = "data"',
            'data_dir = "data"\ntls = false\nadmin_password_file = "x"\nadmin_listen = "0.0.0.0:1"',
            "in the clear",
        ),
        ('data_dir = "data"', 'data_dir = "data"\ncolour = 1', "colour"),
        ('network = "regtest"', 'network = "mainnet"\nlock_time_maker_s = 30000', "mainnet"),
        ("[server]", "[server", "line"),
    ],
)
def test_what_cannot_run_is_refused_by_name(old: str, new: str, mentions: str) -> None:
    with pytest.raises(ConfigError, match=mentions) as caught:
        parse_config(GOOD.replace(old, new))
    assert caught.value.fix


def test_the_signing_key_is_sealed(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    key = ensure_signing_key(path, "a password", SeededEntropy(1))
    assert key.secret.hex() not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_signing_key(path, "a password", SeededEntropy(2)) == key
    with pytest.raises(KeyFileError):
        open_signing_key(path, "another")
    older = json.loads(path.read_text())
    assert older.pop("cost") == {"passes": 3, "memory_kib": 65_536}
    path.write_text(json.dumps(older))
    assert open_signing_key(path, "a password") == key


def test_a_signing_key_opens_at_the_cost_that_its_file_tells(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    key = ensure_signing_key(path, "a password", SeededEntropy(1), Cost(passes=1, memory_kib=8))
    told = json.loads(path.read_text())
    assert open_signing_key(path, "a password") == key
    for damaged in (
        {},
        told | {"cost": {"passes": 2, "memory_kib": 8}},
        *(told | {"cost": cost} for cost in ({"passes": 0}, {"memory_kib": 7}, {"memory_kib": 1 << 40}, None)),
    ):
        path.write_text(json.dumps(damaged))
        with pytest.raises(KeyFileError):
            open_signing_key(path, "a password")


@pytest.mark.anyio
async def test_a_first_start_makes_whatever_is_missing_and_the_next_finds_it(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "data")
    async with exchange.build() as server:
        made = {file.name for file in exchange.folder.rglob("*") if file.is_file()}
    assert made >= {KEY_FILE, DATABASE, "server.cert", "server.key"}
    assert stat.S_IMODE(exchange.folder.stat().st_mode) == 0o700
    assert open_signing_key(exchange.folder / KEY_FILE, "") == server.key
    async with exchange.build() as again:
        assert again.key == server.key


def test_the_certificate_names_every_name(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, ["dex.example", "10.0.0.7"], 1_700_000_000_000)
    again = ensure_certificate(tmp_path, ["other.example"], 1_800_000_000_000)
    certificate = x509.load_pem_x509_certificate(again.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "dex.example"} == set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "::1", "10.0.0.7"} == {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
