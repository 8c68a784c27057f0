"""Lists that grow for ever, as commands show them: a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from twinlock.cli.setting import Setting, ask
from twinlock.client.control.paging import MOST, Row, asked
from twinlock.client.store.living import PAST

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound=Row)

_OPTIONS = (
    click.option("--state", type=click.Choice(["any", "open", "over"]), default="any", help="Which of them."),
    click.option("--market", default="", help="Of this market only."),
    click.option("--host", default="", help="The server; any of them without it."),
    click.option(
        "--count", type=click.IntRange(0, MOST), default=PAST, show_default=True, help="How many that are over at most."
    ),
    click.option("--before", default="", help="Only what is over and older than that: the cursor of a row (--json)."),
)


def page_options(command: F) -> F:
    """Gives a command the options of `page`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def page(setting: Setting, path: str, kind: type[T], query: Mapping[str, Any]) -> list[T]:
    """The rows; how the page before them is asked for is told on stderr where there may be one."""
    rows: list[T] = ask(setting, lambda remote: remote.get(asked(path, **query), list[kind]))  # type: ignore[valid-type]
    over = [row for row in rows if row.cursor]
    if query["count"] and len(over) == query["count"] and not setting.as_json:
        click.echo(f"There may be older ones: --before {over[0].cursor}", err=True)
    return rows
