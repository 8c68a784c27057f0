"""A test that cannot run for want of a program says so aloud, and in continuous integration it has failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STORY = "tests/simnet/test_node.py::test_contracts_that_wait_for_the_clock_are_enforced[btc]"


def run_without_programs(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": str(folder), "TWINLOCK_PROGRAMS": str(folder), "CI": ci}
    return subprocess.run([sys.executable, "-m", "pytest", STORY], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("ci", "status"), [("false", 0), ("true", 1)])
def test_a_missing_program_is_told_and_fails_only_in_ci(tmp_path: Path, ci: str, status: int) -> None:
    done = run_without_programs(tmp_path, ci)
    assert done.returncode == status, done.stdout
    assert "missing program: bitcoind" in done.stdout
    assert "did not run" in done.stdout.lower()
