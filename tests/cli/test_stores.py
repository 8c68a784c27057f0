"""Copies of the store through the command line: made, put back, and what they cannot hold told."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result
from tests.cli.client_command import init
from tests.cli.client_command import run as client


def run(folder: Path, *arguments: str) -> Result:
    return client(folder, "--json", *arguments)


def test_a_copy_brings_back_what_was_there_with_the_password_of_its_day(folder: Path) -> None:
    init(folder / "twinlock.toml")
    run(folder, "key", "create", "bot")
    copy = json.loads(run(folder, "store", "backup", str(folder)).stdout)
    assert Path(copy["file"]).parent == folder
    assert copy["records"] > 0
    run(folder, "key", "revoke", "bot")
    changed = run(folder, "store", "password", "--new-password-file", str(folder / "new"))
    assert changed.exit_code == 0, changed.output
    assert "store.password" in run(folder, "status").output
    (folder / "data" / "recovery.twinlock").write_bytes(b"newer than the copy")
    back = run(folder, "store", "restore", copy["file"])
    told = json.loads(back.stdout)
    assert (Path(told["kept"]).exists(), Path(told["recovery_file"]).read_bytes()) == (True, b"newer than the copy")
    assert f"recover --file {told['recovery_file']}" in back.stderr
    assert [key["name"] for key in json.loads(run(folder, "key", "list").stdout)] == ["bot"]


def test_without_a_store_there_is_nothing_to_copy(folder: Path) -> None:
    for command in (["backup", str(folder / "copy.db")], ["password", "--new-password-file", str(folder / "new")]):
        refused = run(folder, "store", *command)
        assert (refused.exit_code, "store.missing" in refused.output) == (5, True)
    assert not (folder / "data").exists()
