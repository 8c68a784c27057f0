"""A program that serves many takes more descriptors than the shell that started it allows."""

from __future__ import annotations

import resource
import subprocess
import sys

PROGRAM = """
import resource
from twinlock.cli import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (100, {most}))
descriptors.take_all()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_all_that_the_system_allows() -> None:
    most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4_096)
    told = subprocess.run([sys.executable, "-c", PROGRAM.format(most=most)], capture_output=True, check=True, text=True)
    assert told.stdout.split() == [str(most)] * 2
