"""`twinlock client tower`: what a client leaves with its watchtower."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from rich.table import Table

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.setting import Setting, pass_setting
from twinlock.client.control.remote import daemon
from twinlock.client.control.views import PacketView

EXAMPLES = """
\b
Examples:
  twinlock client --config trader.toml tower list
  twinlock client --config trader.toml tower export packets/
"""


@click.group(cls=ExampledGroup, epilog=EXAMPLES)
def tower() -> None:
    """What the watchtower has, or gets as files. Needs the daemon."""


@tower.command("list")
@pass_setting
def tower_list(setting: Setting) -> None:
    """Every swap with something to watch, and whether the tower has said that it holds the packet."""
    found = asyncio.run(_packets(setting))
    setting.show(found, lambda: _table(found))


@tower.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@pass_setting
def tower_export(setting: Setting, folder: Path) -> None:
    """Write a packet for each running swap into FOLDER, for a tower that no network reaches."""
    found = asyncio.run(_packets(setting))
    folder.mkdir(parents=True, exist_ok=True)
    for packet in found:
        (folder / f"{packet.match_id}-{packet.role}.packet").write_bytes(bytes.fromhex(packet.body))
    setting.show(found, lambda: _table(found))


async def _packets(setting: Setting) -> list[PacketView]:
    async with daemon(setting.config()) as remote:
        return await remote.get("/packets", list[PacketView])


def _table(found: list[PacketView]) -> Table:
    table = Table("match", "role", "revision", "delivered", box=None, header_style="bold")
    for packet in found:
        table.add_row(packet.match_id[:16], packet.role, str(packet.revision), str(packet.delivered))
    return table
