"""`twinlock client store`: copies of the store, and its password."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.setting import Setting, pass_setting
from twinlock.cli.showing import table
from twinlock.client.errors import StoreError
from twinlock.client.store import SqliteStore
from twinlock.client.store.copies import back_up, put_back
from twinlock.client.store.sqlite import has_store
from twinlock.seams import SystemClock, SystemEntropy

EXAMPLES = """
\b
Examples:
  twinlock client store backup /media/usb/
  twinlock client store backup client-before-update.db
  twinlock client store restore client-before-update.db
  twinlock client store password
"""


@click.group(cls=ExampledGroup, epilog=EXAMPLES)
def store() -> None:
    """The encrypted file that holds seed, orders, swaps and labels."""


@store.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@pass_setting
def store_backup(setting: Setting, target: Path) -> None:
    """Copy the store into FILE, also while the client runs. In a folder, the copy is named by the time.

    The copy opens with the password of today. It is a convenience: without one, the words and the recovery file bring
    back all but labels (`twinlock client recover`).
    """
    if target.is_dir():
        now = datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)
        target /= f"twinlock-{now:%Y%m%dT%H%M%SZ}.db"
    told = {"file": str(target), "records": back_up(setting.config().folder, target)}
    setting.show(told, lambda: table(["copy", "records"], [[str(target), str(told["records"])]]))


@store.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_setting
def store_restore(setting: Setting, file: Path) -> None:
    """Put a copy in the store's place; what is there is kept beside it. Afterwards `recover` finds what happened since.

    The client must not be running. The copy opens with the password that the store had when it was made.
    """
    config = setting.config()
    kept = put_back(file, config.folder)
    newer = _spare(config.recovery_path)
    told = {"file": str(file), "kept": str(kept or ""), "recovery_file": str(newer or "")}
    setting.show(told, lambda: table(["restored", "the store before", "the recovery file"], [list(told.values())]))
    after = f"recover --file {newer}" if newer else "recover"
    click.echo(f"Now: twinlock client --config {setting.path} {after}", err=True)


@store.command("password")
@click.option(
    "--new-password-file", type=click.Path(exists=True, path_type=Path), help="File with the new one; asked without it."
)
@pass_setting
def store_password(setting: Setting, new_password_file: Path | None) -> None:
    """Change the password. The client must not be running; copies made before keep the old one."""
    folder = setting.config().folder
    if not has_store(folder):
        raise StoreError(f"there is no store in {folder}", code="store.missing", fix="run `twinlock client init`")
    opened = SqliteStore(folder, setting.password(), SystemEntropy())
    try:
        opened.change_password(_new_password(new_password_file))
    finally:
        opened.close()
    setting.show({"changed": True}, lambda: table(["password"], [["changed"]]))


def _new_password(file: Path | None) -> str:
    if file is not None:
        return file.read_text().rstrip("\r\n")
    return str(click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))


def _spare(recovery: Path) -> Path | None:
    """Put the recovery file aside: it is newer than the copy, and a store that opens writes its own."""
    if not recovery.exists():
        return None
    number = 1
    while (aside := recovery.with_name(f"{recovery.name}.aside-{number}")).exists():
        number += 1
    return recovery.rename(aside)
