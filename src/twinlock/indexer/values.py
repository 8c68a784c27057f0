"""Values: how the text of a flag or an environment, or what a TOML file holds, becomes a setting's value.

Each raises ValueError, with what would do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def text(value: Any) -> str:
    """Text as it is."""
    if not isinstance(value, str):
        raise ValueError("it should be text")
    return value.strip()


def texts(value: Any) -> list[str]:
    """A list of texts, or one with commas."""
    rows = value.split(",") if isinstance(value, str) else value
    if not isinstance(rows, list | tuple):
        raise ValueError("it should be text, or a list of texts")
    return [row for each in rows if (row := text(each))]


def path(value: Any) -> Path | None:
    """A path; empty text is none."""
    return Path(text(value)).expanduser() if text(value) else None


def pattern(value: Any) -> str:
    """A regular expression."""
    try:
        re.compile(text(value))
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from error
    return text(value)


def number(least: int = 0, most: int = 1 << 40) -> Callable[[Any], int]:
    """A whole number between two, both included. Other servers' files also have 0.5 or 1e6: what is behind the point is
    left away."""

    def parse(value: Any) -> int:
        try:
            found = int(float(value)) if not isinstance(value, bool) else None
        except (TypeError, ValueError, OverflowError):
            found = None
        if found is None or not least <= found <= most:
            raise ValueError(f"it should be a number from {least:,d} to {most:,d}")
        return found

    return parse


def at_least(least: int) -> Callable[[Any], int]:
    """A whole number; a smaller one counts as that."""
    parse = number()
    return lambda value: max(least, parse(value))


def switch(value: Any) -> bool:
    """In other servers' files any text means on, and none off."""
    return str(value).strip().lower() not in ("", "0", "false", "no", "off")


def urls(value: Any) -> str:
    """Addresses of nodes with a comma between them, each with its scheme."""
    return ",".join(url if "//" in url else f"http://{url}" for url in texts(value))
