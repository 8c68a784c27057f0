"""`twinlock client wallet`: kinds of wallets in the configuration, and a wallet used from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import Result
from tests.cli.client_command import run as client

from twinlock.chain.address import script_to_address
from twinlock.chain.bip32 import HDKey, bip84_account
from twinlock.chain.coins import coin
from twinlock.cli.wallet import wallet
from twinlock.client.config import load


def run(folder: Path, *arguments: str) -> Result:
    return client(folder, "--json", "wallet", *arguments)


def test_every_kind_of_wallet_is_written_into_the_configuration(folder: Path) -> None:
    row = coin("btc", "regtest")
    account = HDKey.from_seed(bytes(32)).derive(bip84_account(row)).neuter().text(row)
    (folder / "xpub").write_text(account + "\n")
    server = ["--electrum", "tcp://127.0.0.1:50001"]
    assert (
        run(folder, "add", "btc", *server, "--kind", "cold", "--descriptor-file", str(folder / "xpub")).exit_code == 0
    )
    node = ["--node", "http://127.0.0.1:19443/wallet/w", "--node-secret", "/cookie", "--birthday", "7"]
    added = run(folder, "add", "ltc", *server, "--kind", "node", *node)
    assert json.loads(added.stdout)["kind"] == "node"
    config = load(folder / "twinlock.toml")
    assert [(each.symbol, each.kind, each.birthday) for each in config.wallets] == [
        ("btc", "cold", 0),
        ("ltc", "node", 7),
    ]
    assert config.wallets[0].descriptor == account
    assert "# mine" in (folder / "twinlock.toml").read_text()


@pytest.mark.parametrize(
    "options",
    [
        ["--kind", "node"],
        ["--kind", "cold"],
        ["--node", "http://127.0.0.1:1/wallet/w"],
    ],
)
def test_a_wallet_that_lacks_something_is_refused_and_nothing_written(folder: Path, options: list[str]) -> None:
    before = (folder / "twinlock.toml").read_text()
    assert run(folder, "add", "btc", "--electrum", "tcp://127.0.0.1:50001", *options).exit_code != 0
    assert run(folder, "add", "btc", "--electrum", "tcp://abc.onion:50001").exit_code != 0
    assert (folder / "twinlock.toml").read_text() == before


def test_every_command_explains_itself_and_none_takes_a_secret_as_an_option() -> None:
    def commands(group: click.Group) -> list[click.Command]:
        found: list[click.Command] = []
        for command in group.commands.values():
            found += commands(command) if isinstance(command, click.Group) else [command]
        return found

    for command in commands(wallet):
        assert command.help
        options = {name for parameter in command.params for name in parameter.opts}
        assert not options & {"--key", "--words", "--password", "--descriptor"}
    assert "twinlock client wallet psbt make" in (wallet.epilog or "")


@pytest.mark.parametrize(("amount", "status", "told"), [((), 2, "AMOUNT is missing"), (("--", "-1"), 1, "amount")])
def test_a_payment_says_how_much(folder: Path, amount: tuple[str, ...], status: int, told: str) -> None:
    address = script_to_address(coin("btc", "regtest"), bytes([0, 20]) + bytes(20))
    assert address is not None
    refused = run(folder, "send", "btc", address, *amount)
    assert (refused.exit_code, told in refused.output) == (status, True), refused.output
    elsewhere = script_to_address(coin("ltc", "regtest"), bytes([0, 20]) + bytes(20))
    assert elsewhere is not None
    other = run(folder, "send", "btc", elsewhere, "1")
    assert (other.exit_code, "chain.address.network" in other.output) == (1, True)
