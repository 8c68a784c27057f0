"""Every command that a document shows exists, with every option that it is shown with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from twinlock.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")] + sorted(
    ROOT.glob("docs/**/*.md")
)
BLOCK = re.compile(r"^```(?:sh|bash)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(twinlock [^`]+)`")


def shown(text: str) -> list[str]:
    """The commands of a document: lines of its blocks, and what stands in a sentence."""
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in [*lines, *INLINE.findall(text)] if line.startswith("twinlock ")]


def resolve(words: list[str]) -> list[str]:
    """What of a command line does not exist: a subcommand or an option of the command reached so far."""
    command: click.Command = main
    context = click.Context(command)
    unknown = []
    for word in words:
        if word.startswith("-"):
            name = word.partition("=")[0]
            options = {text for option in command.params for text in (*option.opts, *option.secondary_opts)}
            unknown += [] if name in {*options, "--help", "-h", "--version"} else [word]
        elif isinstance(command, click.Group) and (found := command.get_command(context, word)):
            command = found
        elif isinstance(command, click.Group) and not _value(words, word, command):
            unknown.append(word)
    return unknown


def _value(words: list[str], word: str, command: click.Command) -> bool:
    """Whether the word belongs to the option before it."""
    before = words[words.index(word) - 1]
    return any(before in option.opts and not getattr(option, "is_flag", True) for option in command.params)


def lines_of(command: str) -> list[str]:
    """The words of a command, without the shell's redirections and remarks."""
    return shlex.split(re.split(r"\s[>|#&]|…", command)[0].replace("[", "").replace("]", ""))[1:]


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_every_command_and_option_exists(document: Path) -> None:
    commands = shown(document.read_text(encoding="utf-8"))
    assert {command: missing for command in commands if (missing := resolve(lines_of(command)))} == {}


def test_what_does_not_exist_is_found() -> None:
    assert resolve(lines_of("twinlock client order limit ltc_btc sell 1 2 --post-only")) == []
    assert resolve(lines_of("twinlock client odrer limit --config file")) == ["odrer", "limit"]
    assert resolve(lines_of("twinlock indexer run --never")) == ["--never"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = document.read_text(encoding="utf-8")
    assert set(re.findall(r"`make ([\w-]+)`", text)) | set(re.findall(r"^make ([\w-]+)", text, re.MULTILINE)) <= targets
