"""How a seed comes in from the command line: by prompt, file or environment, never in an option."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from twinlock.client.seed import Phrase, phrase

F = TypeVar("F", bound=Callable[..., Any])

VARIABLE = "TWINLOCK_PASSPHRASE"

HELP = f"""
\b
A passphrase beside the words (BIP 39) comes from --passphrase-file, from the environment variable
{VARIABLE}, or is asked for with --with-passphrase. Another passphrase is another wallet.
"""


class SeedSource(NamedTuple):
    """What the options say."""

    words_file: Path | None
    passphrase_file: Path | None
    with_passphrase: bool

    def words(self, *, ask: bool) -> str:
        """From the file, or with `ask` from a prompt; empty where neither is."""
        if self.words_file is not None:
            return self.words_file.read_text()
        return str(click.prompt("Words", hide_input=True, err=True)) if ask else ""

    def passphrase(self, *, confirm: bool = False) -> str:
        """Empty where none is said to be."""
        if self.passphrase_file is not None:
            return self.passphrase_file.read_text().rstrip("\r\n")
        if VARIABLE in os.environ:
            return os.environ[VARIABLE]
        if self.with_passphrase:
            return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
        return ""

    def phrase(self, *, ask: bool) -> Phrase | None:
        """The seed that is given, None without words. Raises KeyFormatError."""
        words = self.words(ask=ask)
        return phrase(words, self.passphrase()) if words else None


def seed_options(command: F) -> F:
    """The options of a command that takes a seed: the members of `SeedSource`."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    for option in (
        click.option("--with-passphrase", is_flag=True, help="Ask for the seed's passphrase."),
        click.option(
            "--passphrase-file", type=file, envvar="TWINLOCK_PASSPHRASE_FILE", help="File with the seed's passphrase."
        ),
        click.option(
            "--words-file", type=file, envvar="TWINLOCK_WORDS_FILE", help="File with the words of a seed to restore."
        ),
    ):
        command = option(command)
    return command
