"""Groups of commands whose examples stand once, in the group's help, and are shown by each command that they are of."""

from __future__ import annotations

import re

import click


class ExampledGroup(click.Group):
    """Gives a command without examples of its own those of the group's lines that call it."""

    group_class = type

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        super().add_command(cmd, name)
        if not cmd.epilog:
            call = re.compile(rf"\b{self.name}( --\S+ \S+)* {name or cmd.name}( |$)")
            lines = [line for line in (self.epilog or "").splitlines() if call.search(line)]
            cmd.epilog = "\n".join(("\b", "Examples:", *lines)) if lines else None
