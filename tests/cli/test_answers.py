"""Whatever a command answers, programs can have it as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.table import Table

from twinlock.cli.answers import show
from twinlock.cli.main import main

WITHOUT = {
    "twinlock indexer run",
    "twinlock server run",
    "twinlock indexer rpc",
    "twinlock indexer config show",
    "twinlock indexer systemd",
}
"""They serve until they are stopped, or print a file of another kind; `rpc` answers with JSON alone."""


def silent(command: click.Command, path: str, told: bool) -> Iterator[str]:
    """The commands that neither take `--json` nor stand below a group that does."""
    context = click.Context(command)
    told = told or any("--json" in option.opts for option in command.params)
    if not isinstance(command, click.Group):
        yield from () if told else (path,)
        return
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from silent(inner, f"{path} {name}", told)


def test_every_command_speaks_json() -> None:
    assert set(silent(main, "twinlock", False)) == WITHOUT


def test_an_exchange_is_set_up_and_looked_at_by_a_program(tmp_path: Path) -> None:
    config = str(tmp_path / "server.toml")
    made = CliRunner().invoke(main, ["server", "init", config, "--yes", "--json"])
    assert made.exit_code == 0, made.output
    written = json.loads(made.stdout)
    assert len(bytes.fromhex(written["public_key"])) == 33
    assert config in written["files"]
    assert all(Path(file).exists() for file in written["files"])
    offers = json.loads(CliRunner().invoke(main, ["server", "check", "--config", config, "--json"]).stdout)
    assert [offer["market"] for offer in offers] == ["ltc_btc"]
    assert offers[0]["lot_size"] > 0


def test_a_pipe_gets_every_line_whole(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("what", "ID")
    table.add_row("match", "ab" * 200)
    show(table)
    assert "ab" * 200 in capsys.readouterr().out
