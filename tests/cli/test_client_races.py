"""Commands and the daemon want the same store at the same time; exit codes; what each group's help shows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from tests.cli.client_command import init

from twinlock.cli.client import client
from twinlock.cli.configs import TEMPLATE
from twinlock.cli.main import exit_code, main
from twinlock.client import config
from twinlock.client.control import views
from twinlock.client.errors import NotConnectedError, OrderError, StoreLockedError
from twinlock.client.export import frame, write_csv, write_parquet
from twinlock.client.store.lock import ProcessLock
from twinlock.client.wallet.errors import ShortFundsError

CONFIG = """
data_dir = "{folder}/data"
network = "regtest"
wallets = []
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "twinlock.toml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "password").write_text("correct horse\n")
    return tmp_path


async def start(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    options = ["--config", str(folder / "twinlock.toml"), "--password-file", str(folder / "password"), "--json"]
    command = [sys.executable, "-m", "twinlock.cli.main", "client", *options, *arguments]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=dict(os.environ))


@pytest.mark.anyio
async def test_a_question_asked_before_the_daemon_is_ready_keeps_neither_from_its_work(folder: Path) -> None:
    init(folder / "twinlock.toml")
    daemon, asking = await asyncio.gather(start(folder, "run"), start(folder, "status"))
    out, err = await asking.communicate()
    assert asking.returncode == 0, err.decode()
    assert json.loads(out)["network"] == "regtest"
    assert daemon.stdout is not None
    assert json.loads(await daemon.stdout.readline())["event"] == "ready"
    daemon.send_signal(signal.SIGTERM)
    await daemon.communicate()
    assert daemon.returncode == 0


@pytest.mark.anyio
async def test_the_daemon_waits_for_a_command_that_has_the_store(folder: Path) -> None:
    init(folder / "twinlock.toml")
    lock = ProcessLock(folder / "data" / "client.lock")
    daemon = await start(folder, "run")
    assert daemon.stderr is not None
    assert daemon.stdout is not None
    assert b"in use by process" in await daemon.stderr.readline()
    lock.release()
    assert json.loads(await daemon.stdout.readline())["event"] == "ready"
    second = await start(folder, "run")
    _, refused = await second.communicate()
    assert (second.returncode, b"store.locked" in refused) == (5, True)
    daemon.send_signal(signal.SIGTERM)
    await daemon.communicate()


def test_a_first_init_writes_a_file_that_explains_itself(tmp_path: Path) -> None:
    path = tmp_path / "trader.toml"
    result = CliRunner().invoke(main, ["client", "--config", str(path), "init"])
    assert (result.exit_code, path.read_text()) == (0, TEMPLATE)
    assert config.parse(TEMPLATE).control.allow_withdraw is False
    switched_on = TEMPLATE.replace("\n# recovery_file", "\nrecovery_file").replace("# proxy", "proxy")
    switched_on = switched_on.replace("# certificate", "certificate").replace("# follow", "follow")
    config.parse(switched_on)
    assert len(tomllib.loads(TEMPLATE)["wallets"]) == 2
    again = CliRunner().invoke(main, ["client", "--config", str(path), "config", "write"])
    assert (again.exit_code, "client.config" in again.output) == (1, True)
    shown = CliRunner().invoke(main, ["client", "--config", str(path), "config", "check"])
    assert json.loads(shown.output)["control"]["listen"] == "127.0.0.1:0"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OrderError("x"), 1),
        (NotConnectedError("x"), 3),
        (StoreLockedError("x"), 5),
        (ShortFundsError("x"), 6),
    ],
)
def test_exit_codes_say_what_kind_of_refusal_it_was(error: OrderError, status: int) -> None:
    assert exit_code(error) == status


def test_without_a_daemon_trading_ends_with_the_code_for_no_answer(folder: Path) -> None:
    options = ["client", "--config", str(folder / "twinlock.toml")]
    assert CliRunner().invoke(main, [*options, "order", "cancel", "ab"]).exit_code == 3


def commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


EVERY = list(commands(client, ("client",)))


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[" ".join(path) for path, _ in EVERY])
def test_every_command_explains_itself_its_options_and_shows_how_it_is_called(
    path: tuple[str, ...], command: click.Command
) -> None:
    shown = CliRunner().invoke(main, [*path, "--help"]).output
    group, name = path[-2:]
    assert re.search(rf"\b{group}( --\S+ \S+| --json)* {name}\b", shown.partition("Examples:")[2]), shown
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_shells_can_complete() -> None:
    assert sorted(client.commands) == list(client.list_commands(None))  # type: ignore[arg-type]
    assert "_TWINLOCK_COMPLETE" in CliRunner().invoke(main, ["client", "completion", "bash"]).output


def test_tables_keep_every_atom(tmp_path: Path) -> None:
    row = views.CandleView("h:1", "ltc_btc", 1, 2, 2**53 + 1, 4, 5, 6, 7, 8)
    write_csv(tmp_path / "a.csv", [row], views.CandleView)
    header, line = (tmp_path / "a.csv").read_text().splitlines()
    assert header.split(",") == [member.name for member in msgspec.structs.fields(views.CandleView)]
    assert line == f"h:1,ltc_btc,1,2,{2**53 + 1},4,5,6,7,8"
    write_parquet(tmp_path / "a.parquet", [row], views.CandleView)
    import pandas as pd  # type: ignore[import-untyped]

    back = pd.read_parquet(tmp_path / "a.parquet")
    assert (int(back.volume[0]), list(back.columns)) == (2**53 + 1, header.split(","))
    assert list(frame([], views.CandleView).columns) == header.split(",")
