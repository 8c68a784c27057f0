"""`twinlock client` on a folder, as typed."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from twinlock.cli.main import main
from twinlock.client.config import load
from twinlock.client.store.vault import Cost
from twinlock.client.trader import initialize
from twinlock.seams import SystemEntropy

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


def init(config: Path) -> None:
    """What the command `init` makes, under the password that lies beside the configuration; it costs little to try."""
    password = config.with_name("password").read_text().rstrip("\n")
    initialize(load(config), password, entropy=SystemEntropy(), cost=Cost(passes=1, memory_kib=8, lanes=1))
