"""`twinlock tower`: a watchtower, on a machine of its own, that holds no key of any wallet."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click
import msgspec
import uvloop
from rich.table import Table

from twinlock.cli.answers import answer, show
from twinlock.cli.configs import write_template
from twinlock.cli.showing import clock_time
from twinlock.client.tower.config import TowerConfig, load
from twinlock.client.tower.packet import Packet, decode, lock_time
from twinlock.client.tower.sealing import key_of
from twinlock.client.tower.shelf import Shelf
from twinlock.client.tower.tower import KEY_FILE, Tower
from twinlock.client.tower.watcher import TowerEvent
from twinlock.seams import SystemClock, SystemEntropy

EXAMPLES = """
\b
Examples:
  twinlock tower --config tower.toml config write
  twinlock tower --config tower.toml key show
  twinlock tower --config tower.toml run
  twinlock tower --config tower.toml packet import swaps/*.packet
  twinlock tower --config tower.toml --json packet list
"""


class PacketView(msgspec.Struct, frozen=True):
    """One swap in the tower's care. refund_after: s. redeems: it can take the counterparty's contract too."""

    match_id: str
    role: str
    revision: int
    refund_asset: str
    refund_after: int
    redeem_asset: str
    redeems: bool


class Setting:
    """What the group's options say, given to every command."""

    def __init__(self, config: Path, as_json: bool) -> None:
        self.path = config
        self.as_json = as_json

    def config(self) -> TowerConfig:
        return load(self.path)


pass_setting = click.make_pass_decorator(Setting)


@click.group(epilog=EXAMPLES)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("tower.toml"),
    envvar="TWINLOCK_TOWER_CONFIG",
    help="The configuration file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def tower(context: click.Context, config: Path, as_json: bool) -> None:
    """Watch over the swaps of a client that is away, without any key of its wallet."""
    context.obj = Setting(config, as_json)


@tower.command()
@pass_setting
def run(setting: Setting) -> None:
    """Watch, and take packets in, until stopped. What was accepted survives any crash."""
    uvloop.run(_run(setting))


async def _run(setting: Setting) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def tell(event: TowerEvent) -> None:
        _say(setting, event)

    async with Tower(setting.config(), clock=SystemClock(), entropy=SystemEntropy(), tell=tell) as running:
        _say(setting, TowerEvent(at=SystemClock().now_ms(), what="ready", text=running.url))
        await stop.wait()


def _say(setting: Setting, event: TowerEvent) -> None:
    if setting.as_json:
        click.echo(msgspec.json.encode({"event": event.what, **msgspec.to_builtins(event)}))
    else:
        parts = (event.what, event.match_id[:16], event.role, event.txid, event.text)
        click.echo(" ".join(part for part in parts if part))
    sys.stdout.flush()


TEMPLATE = """\
# Twinlock watchtower. It finishes or refunds the swaps of a client that is off, and holds no key of its wallet.

# Where packets and the tower's own key are kept.
data_dir = "~/.twinlock/tower"

# As the client's: mainnet, testnet or regtest.
network = "testnet"

# Where packets come in. They are encrypted and authenticated; open it to the client's machine only all the same.
listen = "127.0.0.1:7240"

# One for each coin that the client trades, with Electrum servers of the tower's own choice.
[[chains]]
symbol = "btc"
electrum = ["ssl://electrum.example:60002"]

[[chains]]
symbol = "ltc"
electrum = ["ssl://electrum-ltc.example:51002"]
"""


@tower.group("config")
def config_group() -> None:
    """The configuration file."""


@config_group.command("write")
@pass_setting
def config_write(setting: Setting) -> None:
    """Write a file with explanations, where there is none yet."""
    write_template(setting.path, TEMPLATE)
    answer({"file": setting.path}, f"{setting.path} is written", as_json=setting.as_json)


@config_group.command("check")
@pass_setting
def config_check(setting: Setting) -> None:
    """Read the file, and show what it says with all defaults, as JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(setting.config())))


@tower.group()
def key() -> None:
    """The key that a client and this tower share."""


@key.command("show")
@pass_setting
def key_show(setting: Setting) -> None:
    """Where the key is; copy the file to the client's machine and name it as key_file under [tower]."""
    path = setting.config().folder / KEY_FILE
    key_of(path, SystemEntropy())
    click.echo(msgspec.json.encode({"key_file": str(path)}) if setting.as_json else str(path))


@tower.group()
def packet() -> None:
    """The swaps in this tower's care."""


@packet.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@pass_setting
def packet_import(setting: Setting, files: tuple[Path, ...]) -> None:
    """Take packets that `twinlock client tower export` wrote, while the tower does not run."""
    shelf = Shelf(setting.config().folder)
    try:
        found = [decode(path.read_bytes()) for path in files]
        for each in found:
            shelf.put(each)
    finally:
        shelf.close()
    _show(setting, found)


@packet.command("list")
@pass_setting
def packet_list(setting: Setting) -> None:
    """Every swap that is being watched. Works while the tower runs."""
    folder = setting.config().folder / "packets"
    _show(setting, [decode(path.read_bytes()) for path in sorted(folder.glob("*.packet"))])


def _show(setting: Setting, packets: list[Packet]) -> None:
    views = [_view(each) for each in packets]
    if setting.as_json:
        click.echo(msgspec.json.encode(views))
        return
    table = Table("match", "role", "refund", "after", "redeem", box=None, header_style="bold")
    for view in views:
        table.add_row(
            view.match_id[:16], view.role, view.refund_asset, clock_time(view.refund_after * 1000), view.redeem_asset
        )
    show(table)


def _view(each: Packet) -> PacketView:
    theirs = each.theirs
    return PacketView(
        match_id=each.match_id.hex(),
        role=each.role,
        revision=each.revision,
        refund_asset=each.own.asset,
        refund_after=lock_time(each.own),
        redeem_asset=theirs.asset if theirs else "",
        redeems=theirs is not None and (each.role == "taker" or bool(each.secret)),
    )
