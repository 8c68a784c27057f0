"""Programs of others: what the machine has comes first, what it lacks is fetched, and the prefix may be moved."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from twinlock.simnet import programs


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TWINLOCK_PROGRAMS", str(tmp_path / "programs"))
    return tmp_path / "programs"


def make_program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


def test_every_program_has_one_bundle() -> None:
    assert sorted(programs.OWNER) == ["bitcoind", "chromium", "electrum", "initdb", "litecoind", "ngircd", "postgres"]


def test_the_prefix_is_the_users_cache_unless_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TWINLOCK_PROGRAMS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert programs.prefix() == tmp_path / "twinlock" / "programs"
    monkeypatch.setenv("TWINLOCK_PROGRAMS", str(tmp_path / "chosen"))
    assert programs.prefix() == tmp_path / "chosen"


def test_a_program_on_path_wins_over_a_fetched_one(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    assert programs.find("bitcoind") is None
    fetched = make_program(prefix / "bin" / "bitcoind", "fetched")
    assert programs.find("bitcoind") == fetched
    system = make_program(tmp_path / "system" / "bitcoind", "system")
    assert programs.find("bitcoind") == system
    assert programs.need("bitcoind", print) == system


def test_without_apt_the_reader_learns_what_to_do(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(programs.ProgramError) as refusal:
        programs.need("bitcoind", print)
    assert refusal.value.fault == "machine"
    assert "PATH" in refusal.value.fix


@pytest.mark.node
def test_headers_are_fetched_for_a_python_without_them(prefix: Path, tmp_path: Path) -> None:
    try:
        folders = programs.fetch_headers(print)
    except programs.ProgramError as error:
        pytest.skip(f"missing program: headers: {error}")
    assert programs.fetch_headers(pytest.fail) == folders, "the second time there is nothing to do"
    source = tmp_path / "extension.c"
    source.write_text("#include <Python.h>\nint version = PY_VERSION_HEX;\n")
    include = [f"-I{folder}" for folder in folders]
    subprocess.run(["cc", "-c", *include, source, "-o", tmp_path / "extension.o"], check=True)


@pytest.mark.node
def test_a_fetched_node_runs_wherever_its_prefix_was_moved(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    try:
        programs.fetch("litecoin", said.append)
    except programs.ProgramError as error:
        pytest.skip(f"missing program: litecoind: {error}")
    assert said[-1].startswith("litecoin: Litecoin Core version")
    assert sorted(path.name for path in prefix.iterdir()) == [".lock", "apt", "bin", "litecoin"]
    assert list((prefix / "apt").iterdir()) == []

    programs.fetch("litecoin", said.append)
    assert len(said) == 3, "the second time there is nothing to do"

    moved = tmp_path / "moved"
    shutil.move(prefix, moved)
    version = subprocess.run([moved / "bin" / "litecoind", "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("Litecoin Core version")
