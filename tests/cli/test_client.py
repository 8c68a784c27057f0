"""`twinlock client` as a person runs it: passwords from files, JSON on request, errors with advice."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from tests.cli.client_command import CONFIG, init, run

from twinlock.cli.answers import show
from twinlock.cli.main import main
from twinlock.cli.setting import Setting
from twinlock.cli.showing import table, table_by_server
from twinlock.cli.trading import how_it_ended
from twinlock.client.control import views
from twinlock.client.store.sqlite import FILE_NAME


def test_init_shows_the_words_once_and_restores_them_elsewhere(folder: Path, tmp_path: Path) -> None:
    made = run(folder, "init")
    assert made.exit_code == 0
    words = made.stdout.strip()
    assert len(words.split()) == 12
    assert words.split()[0].encode() not in (folder / "data" / FILE_NAME).read_bytes()
    again = run(folder, "init")
    assert again.exit_code != 0
    assert "client.exists" in again.output
    (folder / "words").write_text(words.upper())
    (folder / "twinlock.toml").write_text(CONFIG.format(folder=tmp_path / "elsewhere"))
    restored = run(folder, "init", "--words-file", str(folder / "words"))
    assert restored.exit_code == 0
    assert words not in restored.output


def test_what_can_be_looked_at_without_a_daemon(folder: Path) -> None:
    init(folder / "twinlock.toml")
    looks = (
        ["wallet", "show"],
        *([name, "list"] for name in ("swap", "bond", "evidence", "history", "order", "condition")),
    )
    for command in looks:
        shown = run(folder, "--json", *command)
        assert (shown.exit_code, json.loads(shown.stdout)) == (0, [])
    assert json.loads(run(folder, "--json", "status").stdout)["network"] == "regtest"


def test_rows_name_their_server_where_there_are_several(folder: Path) -> None:
    setting = Setting(folder / "twinlock.toml", None, as_json=False)
    rows = [("one:1", ["a"]), ("two:2", ["b"])]
    alone = table_by_server(setting, ["order"], rows)
    assert [column.header for column in alone.columns] == ["order"]
    config = folder / "twinlock.toml"
    config.write_text(config.read_text() + '\n[[servers]]\nhost = "one:1"\n[[servers]]\nhost = "two:2"\n')
    several = table_by_server(setting, ["order"], rows)
    assert [(column.header, *map(str, column.cells)) for column in several.columns] == [
        ("server", "one:1", "two:2"),
        ("order", "a", "b"),
    ]


def test_what_a_server_says_in_brackets_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "it pays too low a fee [order.coin_fee] [red]or so[/red]"
    show(table(["why"], [[reason]]))
    assert reason in capsys.readouterr().out


def test_trading_needs_the_daemon_and_says_so(folder: Path) -> None:
    init(folder / "twinlock.toml")
    refused = run(folder, "order", "limit", "ltc_btc", "sell", "1", "0.0025")
    assert refused.exit_code != 0
    assert "twinlock client run" in refused.output


def test_a_wrong_password_and_no_seed_are_told(folder: Path) -> None:
    assert "client.no_seed" in run(folder, "wallet", "show").output
    init(folder / "twinlock.toml")
    (folder / "password").write_text("wrong horse")
    assert "store.password" in run(folder, "wallet", "show").output


@pytest.mark.parametrize("text", ["{not", '[{"market": 1}]'])
def test_a_file_of_orders_that_is_none_is_refused_with_what_it_should_look_like(folder: Path, text: str) -> None:
    (folder / "orders").write_text(text)
    refused = run(folder, "order", "several", str(folder / "orders"))
    assert (refused.exit_code, "order.file" in refused.output, '"ltc_btc"' in refused.output) == (1, True, True)


def test_the_status_says_until_when_it_is_safe_to_close(folder: Path) -> None:
    init(folder / "twinlock.toml")
    assert "Safe to close: as long as you like." in run(folder, "status").output


def test_a_damaged_or_newer_store_is_told_with_the_way_back(folder: Path) -> None:
    init(folder / "twinlock.toml")
    path = folder / "data" / FILE_NAME
    kept = path.read_bytes()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    newer = run(folder, "status")
    assert (newer.exit_code, "store.newer" in newer.output) == (5, True)
    path.write_bytes(b"\xff" * len(kept))
    damaged = run(folder, "status")
    assert (damaged.exit_code, "store.corrupt" in damaged.output) == (5, True)
    assert "twinlock client recover" in damaged.output
    assert path.with_name(f"{FILE_NAME}.damaged-1").exists()


def test_a_configuration_that_nobody_filled_in_makes_no_seed(tmp_path: Path) -> None:
    options = ["client", "--config", str(tmp_path / "fresh.toml"), "init"]
    assert CliRunner().invoke(main, options).exit_code == 0
    text = (tmp_path / "fresh.toml").read_text()
    (tmp_path / "fresh.toml").write_text(text.replace("~/.twinlock/client", str(tmp_path / "data")))
    refused = CliRunner().invoke(main, options)
    assert (refused.exit_code, "is only an example" in refused.output) == (1, True)
    assert not (tmp_path / "data").exists()


def test_how_an_order_ended_is_said_as_it_was() -> None:
    plain = views.OrderView("h", "", "", "ltc_btc", "limit", "buy", 5, 5, "standing", False, 0, 0, 0, "executed", 0)
    ended = [
        (plain, "ended: nothing matched"),
        (msgspec.structs.replace(plain, post_only=True), "ended: it would have taken"),
        (msgspec.structs.replace(plain, filled=5), "executed"),
        (msgspec.structs.replace(plain, status="revoked", expiry=1), "expired"),
        (msgspec.structs.replace(plain, status="revoked"), "revoked"),
        (msgspec.structs.replace(plain, type="cancel"), "executed"),
    ]
    assert [how_it_ended(order) for order, _ in ended] == [text for _, text in ended]
