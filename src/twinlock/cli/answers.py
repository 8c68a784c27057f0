"""What a command answers: text for people, JSON for programs."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

_ENDLESS = 10_000
"""Columns of what is no terminal."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def answer(value: Any, text: str, *, as_json: bool) -> None:
    """The value as JSON, or else the text. Paths are written as text."""
    click.echo(msgspec.json.encode(value, enc_hook=str) if as_json else text)


def show(table: Table) -> None:
    """Into a file or a pipe every line comes whole; a terminal folds what is too long and cuts nothing."""
    console = Console() if sys.stdout.isatty() else Console(width=_ENDLESS)
    console.print(table)
