"""What happens, told as it happens: as a live timeline to people, as JSON lines to programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from twinlock.seams import Clock

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")


class Timeline(Protocol):
    """Where a story is told. Use as a context."""

    def tell(self, event: str, who: str, text: str, **facts: int | str) -> None:
        """One thing that happened: a stable name for programs, the actor and a sentence for people, and the numbers.

        Facts are atoms, milliseconds, heights, and IDs in hexadecimal.
        """
        ...

    def status(self, subject: str, state: str) -> None:
        """How `subject` stands now; replaces what was said of it before."""
        ...

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A summary for people; programs were told its content by `tell`."""
        ...

    def summary(self, **facts: object) -> None:
        """The last word for programs."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class JsonTimeline:
    """One JSON object a line: ``event``, ``ms`` since the start, ``who``, ``text``, and the facts."""

    def __init__(self, clock: Clock, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._clock = clock
        self._start = clock.monotonic()

    def tell(self, event: str, who: str, text: str, **facts: int | str) -> None:
        self._write({"event": event, "ms": _milliseconds(self._clock, self._start), "who": who, "text": text, **facts})

    def status(self, subject: str, state: str) -> None:
        """Left out: the events say as much."""

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Left out: the events say as much."""

    def summary(self, **facts: object) -> None:
        self._write({"event": "summary", **facts})

    def _write(self, row: Mapping[str, object]) -> None:
        print(json.dumps(row), file=self._out, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class RichTimeline:
    """A line for each event, and below them the present state of chains and swaps, kept up to date on a terminal."""

    def __init__(self, clock: Clock, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._clock = clock
        self._start = clock.monotonic()
        self._states: dict[str, str] = {}
        self._colours: dict[str, str] = {}
        self._live = Live(console=self._console, transient=True, refresh_per_second=8)

    def tell(self, event: str, who: str, text: str, **facts: int | str) -> None:
        del event, facts
        seconds = _milliseconds(self._clock, self._start) / 1000
        line = Text.assemble((f"{seconds:7.1f}s ", "dim"), (f"{who:>9}  ", self._colour(who)), text)
        self._console.print(line, soft_wrap=True)

    def status(self, subject: str, state: str) -> None:
        self._states[subject] = state
        if self._console.is_terminal:
            self._live.update(self._footer())

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def summary(self, **facts: object) -> None:
        """People have read it all."""

    def _footer(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", justify="right", min_width=18)
        grid.add_column(no_wrap=True)
        for subject, state in self._states.items():
            grid.add_row(subject, state)
        return grid

    def _colour(self, who: str) -> str:
        return self._colours.setdefault(who, COLOURS[len(self._colours) % len(COLOURS)])

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def _milliseconds(clock: Clock, start: float) -> int:
    return round((clock.monotonic() - start) * 1000)
