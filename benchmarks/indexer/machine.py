"""What programs cost, read from /proc, and on what machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_mib(pid: int) -> int:
    """The most memory that a process held, mapped files included."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) // 1024


def size_mb(folder: Path) -> float:
    """What a folder takes on disk."""
    return round(sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()) / 1e6, 1)


def load() -> float:
    """How many processes wanted to run lately: what others do on the machine shows here."""
    return round(os.getloadavg()[0], 2)


def machine() -> str:
    """Processor, cores and kernel."""
    text = Path("/proc/cpuinfo").read_text()
    model = text.partition("model name")[2].partition("\n")[0].strip("\t :")
    return f"{os.cpu_count()} cores, {model or platform.machine()}, Linux {platform.release()}"
