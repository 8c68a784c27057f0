"""`twinlock client` on a folder, as typed."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from twinlock.cli.main import main

CONFIG = """
# mine
data_dir = "{folder}/data"
network = "regtest"
wallets = []
"""


def run(folder: Path, *arguments: str) -> Result:
    """The password comes from its file."""
    options = ["client", "--config", str(folder / "twinlock.toml"), "--password-file", str(folder / "password")]
    return CliRunner().invoke(main, [*options, *arguments])
