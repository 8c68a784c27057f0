"""The command line: every subcommand loads, costs nothing before it is called, and errors say what to do."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from twinlock import __version__
from twinlock.cli.main import COMMANDS, LazyGroup, main
from twinlock.errors import TwinlockError


def test_help_names_every_command_without_loading_one() -> None:
    script = (
        "import sys; from twinlock.cli.main import main; main(['--help'], standalone_mode=False); "
        "print([m for m in sys.modules if m.startswith('twinlock.') and m not in "
        "('twinlock.cli', 'twinlock.cli.main', 'twinlock.errors')])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert all(name in shown for name in COMMANDS)
    assert shown.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage: main" in result.output


def test_version() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


def test_an_unknown_command_is_refused() -> None:
    result = CliRunner().invoke(main, ["exchange"])
    assert result.exit_code == 2
    assert "No such command" in result.output


def test_an_expected_failure_shows_its_code_and_its_remedy() -> None:
    @click.group(cls=LazyGroup, invoke_without_command=True)
    def group() -> None:
        raise TwinlockError("port 9 is taken", code="test.port", fix="Choose another.")

    result = CliRunner().invoke(group, [])
    assert result.exit_code == 1
    assert "Error: port 9 is taken [test.port]\nChoose another." in result.output
