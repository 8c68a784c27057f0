"""`twinlock client config`: the configuration file, written with its explanations, and checked."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.setting import Setting, pass_setting
from twinlock.client.config import ClientConfig
from twinlock.client.errors import ConfigError

TEMPLATE = """\
# Twinlock client. Lines that begin with # are explanations or what may be switched on.

# Where keys, orders and swaps are kept, encrypted. Nobody else may use the folder at the same time.
data_dir = "~/.twinlock/client"

# mainnet, testnet or regtest.
network = "testnet"

# A copy of what the seed alone cannot bring back; best on another disk.
# recovery_file = "/media/usb/recovery.twinlock"

# One wallet for each coin. Name several Electrum servers: they are checked against each other.
[[wallets]]
symbol = "btc"
electrum = ["ssl://electrum.example:60002"]
# proxy = "socks5://127.0.0.1:9050"   # Tor
# birthday = 880000                   # the seed is younger than this block: nothing before it is looked at

[[wallets]]
symbol = "ltc"
electrum = ["ssl://electrum-ltc.example:51002"]

# Exchange servers, as many as you like; the account at each follows from the seed.
[[servers]]
host = "exchange.example:7232"
# certificate = "exchange.cert"   # a self-signed certificate to pin; public CAs without it
# follow = ["ltc_btc"]            # books to mirror from the start

# The local interface, for the command line and for programs.
[control]
listen = "127.0.0.1:0"
allow_withdraw = false            # whether it may pay out at all

# A watchtower that finishes or refunds swaps while this machine is off.
# [tower]
# url = "http://tower.example:7240"
# key_file = "tower.key"
"""
EXAMPLES = """
\b
Examples:
  twinlock client --config trader.toml config write
  twinlock client --config trader.toml config check
"""


def check_filled_in(config: ClientConfig) -> None:
    """Raises ConfigError while the file still names the servers of the template."""
    named = [server for wallet in config.wallets for server in wallet.electrum] + [each.host for each in config.servers]
    if examples := [name for name in named if name in TEMPLATE]:
        raise ConfigError(f"{examples[0]} is only an example", fix="fill your own servers into the configuration")


def write_template(path: Path, text: str = TEMPLATE) -> None:
    """Raises ConfigError where there is a file already, or none can be."""
    try:
        with path.open("x") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", fix="choose another place with --config") from error


@click.group("config", cls=ExampledGroup, epilog=EXAMPLES)
def config_group() -> None:
    """The configuration file."""


@config_group.command("write")
@pass_setting
def config_write(setting: Setting) -> None:
    """Write a file with explanations, where there is none yet."""
    write_template(setting.path)
    told = msgspec.json.encode({"file": str(setting.path)}) if setting.as_json else f"{setting.path} is written"
    click.echo(told, err=not setting.as_json)


@config_group.command("check")
@pass_setting
def config_check(setting: Setting) -> None:
    """Read the file, and show what it says with all defaults, as JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(setting.config())))
