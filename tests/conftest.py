"""What every test may use."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from twinlock.simnet import programs

MISSING = "missing program: "
"""A skip with this reason is announced at the end of the run, and is a failure in continuous integration."""

BYTECODE = Path(__file__).parents[1] / "build" / "bytecode"
"""Where it lies if the environment wants none beside the sources: each of the hundreds of processes that the stories
start would compile everything anew."""


def pytest_configure() -> None:
    """For this process and for those that it starts."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(BYTECODE))
        sys.dont_write_bytecode = False


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, the loop that Twinlock runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Finds a program of others by its name, fetching it when it is missing; skips aloud where it cannot be had."""

    def need(name: str) -> Path:
        try:
            return programs.need(name, print)
        except programs.ProgramError as error:
            pytest.skip(f"{MISSING}{name}: {error}")

    return need


def pytest_collection_finish() -> None:
    """What was imported stays: no collection of garbage need look at it again, and worlds end with one each."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true, a test that could not run for want of a program has failed."""
    report = yield
    if report.skipped and MISSING in str(report.longrepr) and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} did not run: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests did not run, and why, so that nobody takes silence for success."""
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.write_line(f"DID NOT RUN {report.nodeid}: {reason}", yellow=True, bold=True)
