"""What cannot be is refused before anybody is asked, in words, never with a trace of Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result
from tests.cli.client_command import init

from twinlock.cli.main import main


@pytest.fixture
def trader(tmp_path: Path) -> Path:
    text = f'data_dir = "{tmp_path}/data"\nnetwork = "regtest"\nwallets = []\n'
    (tmp_path / "trader.toml").write_text(text)
    (tmp_path / "password").write_text("correct horse\n")
    init(tmp_path / "trader.toml")
    return tmp_path


def client(folder: Path, *arguments: str, typed: str = "") -> Result:
    options = ["--config", str(folder / "trader.toml"), "--password-file", str(folder / "password"), "--json"]
    return CliRunner().invoke(main, ["client", *options, *arguments], input=typed)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("wallet", "freeze", "btc", "nonsense"), 2, "write TXID:INDEX"),
        (("wallet", "send", "btc", "x", "1", "--coin", "ab:1"), 2, "write TXID:INDEX"),
        (("bond", "code"), 2, "32 hex digits"),
        (("history", "export", "/nowhere/at/all.csv"), 1, "No such file or directory"),
        (("history", "export", "x.csv", "--what", "candles"), 2, "--market"),
    ],
)
def test_a_command_that_cannot_be_is_told_so(trader: Path, arguments: tuple[str, ...], status: int, told: str) -> None:
    refused = client(trader, *arguments, typed="0011\n")
    assert (refused.exit_code, told in refused.output) == (status, True), refused.output
    assert refused.exception is None or isinstance(refused.exception, SystemExit)


def test_no_log_stands_between_the_lines_of_an_answer(trader: Path) -> None:
    before = structlog.get_config()["wrapper_class"]
    shown = client(trader, "status")
    assert json.loads(shown.output)["network"] == "regtest"
    assert structlog.get_config()["wrapper_class"] is before


def test_a_balance_that_no_server_vouches_for_is_not_shown_as_if_it_were_one(trader: Path) -> None:
    """Nobody listens there; a wallet that was never looked at holds nothing that is known."""
    assert client(trader, "wallet", "add", "btc", "--electrum", "tcp://127.0.0.1:1").exit_code == 0
    shown = client(trader, "wallet", "show")
    assert (shown.exit_code, "btc: the wallet is still looking" in shown.stderr) == (3, True)
    (row,) = json.loads(shown.stdout)
    assert (row["total"], row["scanned"]) == (0, False)
