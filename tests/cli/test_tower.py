"""`twinlock tower` and `twinlock client recover` from the command line: JSON, exit statuses, nothing secret shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from twinlock.cli.main import main
from twinlock.client.tower.sealing import KEY_SIZE, read_key
from twinlock.client.tower.tower import FilePins

WORDS = "abandon " * 11 + "about"


def tower_file(folder: Path) -> Path:
    path = folder / "tower.toml"
    path.write_text(
        f'data_dir = "{folder / "tower"}"\nnetwork = "regtest"\n'
        '[[chains]]\nsymbol = "btc"\nelectrum = ["tcp://127.0.0.1:1"]\n'
    )
    return path


def client_file(folder: Path) -> Path:
    path = folder / "trader.toml"
    path.write_text(f'data_dir = "{folder / "trader"}"\nnetwork = "regtest"\nwallets = []\n')
    return path


def test_a_configuration_is_written_once_and_explains_itself(tmp_path: Path) -> None:
    options = ["tower", "--config", str(tmp_path / "tower.toml"), "--json", "config"]
    written = CliRunner().invoke(main, [*options, "write"])
    assert (written.exit_code, json.loads(written.output)) == (0, {"file": str(tmp_path / "tower.toml")})
    assert json.loads(CliRunner().invoke(main, [*options, "check"]).output)["listen"] == "127.0.0.1:7240"
    again = CliRunner().invoke(main, [*options, "write"])
    assert (again.exit_code, "cannot write" in again.output) == (1, True)


def test_a_tower_shows_where_its_key_is_and_not_the_key(tmp_path: Path) -> None:
    options = ["tower", "--config", str(tower_file(tmp_path)), "--json"]
    shown = CliRunner().invoke(main, [*options, "key", "show"])
    assert shown.exit_code == 0, shown.output
    path = Path(json.loads(shown.output)["key_file"])
    key = read_key(path)
    assert len(key) == KEY_SIZE
    assert key.hex() not in shown.output
    assert path.stat().st_mode & 0o777 == 0o600
    CliRunner().invoke(main, [*options, "key", "show"])
    assert read_key(path) == key
    assert json.loads(CliRunner().invoke(main, [*options, "packet", "list"]).output) == []


def test_what_is_no_packet_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "x.packet").write_bytes(b"nothing")
    options = ["tower", "--config", str(tower_file(tmp_path))]
    refused = CliRunner().invoke(main, [*options, "packet", "import", str(tmp_path / "x.packet")])
    assert refused.exit_code == 1
    assert "tower.packet" in refused.output


def test_certificates_are_remembered_over_restarts(tmp_path: Path) -> None:
    FilePins(tmp_path / "pins").put("a:1", b"\x01")
    FilePins(tmp_path / "pins").put("b:2", b"\x02")
    pins = FilePins(tmp_path / "pins")
    assert (pins.get("a:1"), pins.get("b:2"), pins.get("c:3")) == (b"\x01", b"\x02", None)


@pytest.mark.parametrize(
    ("words", "code", "status"), [(WORDS, "", 4), ("abandon " * 12, "chain.", 1), ("no words at all", "", 1)]
)
def test_recovering_asks_for_words_that_are_some(tmp_path: Path, words: str, code: str, status: int) -> None:
    (tmp_path / "words").write_text(words)
    (tmp_path / "password").write_text("open")
    options = [
        "client",
        "--config",
        str(client_file(tmp_path)),
        "--password-file",
        str(tmp_path / "password"),
        "--json",
    ]
    shown = CliRunner().invoke(main, [*options, "recover", "--words-file", str(tmp_path / "words")])
    assert shown.exit_code == status, shown.output
    assert code in shown.output
    if status == 4:
        assert json.loads(shown.stdout)["silent"] == []


def test_a_file_of_another_seed_is_refused_and_leaves_no_seed_behind(tmp_path: Path) -> None:
    (tmp_path / "words").write_text(WORDS)
    (tmp_path / "password").write_text("open")
    (tmp_path / "file").write_bytes(b"TWLREC\x00\x01" + bytes(60))
    options = ["client", "--config", str(client_file(tmp_path)), "--password-file", str(tmp_path / "password")]
    recover = [*options, "recover", "--words-file", str(tmp_path / "words")]
    refused = CliRunner().invoke(main, [*recover, "--file", str(tmp_path / "file")])
    assert refused.exit_code == 1
    assert "recovery.file" in refused.output
    assert CliRunner().invoke(main, recover).exit_code == 4
