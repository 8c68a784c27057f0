"""What a command answers: text for people, JSON for programs."""

from __future__ import annotations

from typing import Any

import click
import msgspec

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def answer(value: Any, text: str, *, as_json: bool) -> None:
    """The value as JSON, or else the text. Paths are written as text."""
    click.echo(msgspec.json.encode(value, enc_hook=str) if as_json else text)
