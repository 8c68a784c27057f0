"""How the commands of `twinlock indexer` are told of an indexer: by flags, the environment and a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from twinlock.chain.coins import Coin, Network, coin
from twinlock.indexer.daemon import Daemon
from twinlock.indexer.env import SETTINGS, Env, load, make_env
from twinlock.indexer.node_home import addresses

HELP = {setting.field: setting.help for setting in SETTINGS}
RPC = "rpc://127.0.0.1:8000"


def settings(command: Any) -> Any:
    """The options that say how an indexer is set up."""
    options = (
        click.option("--config", type=click.Path(path_type=Path, exists=True), help="A TOML file with settings."),
        click.option("--coin", help=HELP["coin"]),
        click.option("--network", help=HELP["network"]),
        click.option("--daemon-url", help=HELP["daemon_url"]),
        click.option("--node-dir", help=HELP["node_dir"]),
        click.option("--data-dir", help=HELP["data_dir"]),
        click.option("--listen", multiple=True, help="Where wallets connect: tcp://127.0.0.1:50001. May be repeated."),
        click.option("--rpc-listen", help=f"Where the operator's commands connect: {RPC}"),
        click.option("--metrics-listen", help="Where /metrics, /healthz and /readyz are: http://127.0.0.1:8001"),
        click.option("--zmq", help=HELP["zmq"]),
        click.option("--memory", help=HELP["memory"]),
        click.option("--reorg-limit", help=HELP["reorg_limit"]),
    )
    for option in reversed(options):
        command = option(command)
    return command


def load_settings(config: Path | None, flags: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """(settings, where each came from). Raises EnvError."""
    doors = (*flags.pop("listen"), flags.pop("rpc_listen"), flags.pop("metrics_listen"))
    flags["services"] = tuple(door for door in doors if door)
    return load(config, os.environ, flags)


def environment(config: Path | None, flags: dict[str, Any]) -> tuple[Env, Coin]:
    """What is set, and the coin that it is for. Raises EnvError, UnknownAssetError."""
    env = make_env(load_settings(config, flags)[0])
    return env, coin(env.coin, Network(env.network))


def node_of(env: Env, coin: Coin) -> Daemon:
    """The node, to be called."""
    return Daemon(*addresses(coin, env.daemon_urls, env.node_dir, Path.home()))
