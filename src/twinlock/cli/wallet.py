"""`twinlock client wallet`: what is there, addresses, payments, PSBTs, labels, and which wallets there are."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
import segno
import tomlkit

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.labels import labels
from twinlock.cli.setting import Setting, ask, pass_setting
from twinlock.cli.showing import clock_time, coin_of, some, table
from twinlock.client import config as configuration
from twinlock.client.control import requests, views
from twinlock.client.wallet import uri
from twinlock.client.wallet.errors import still_scanning
from twinlock.client.wallet.statement import to_csv
from twinlock.client.wallet.types import Payment
from twinlock.protocol.rates import amount_text, parse_amount

EXAMPLES = """
\b
Examples:
  twinlock client wallet show
  twinlock client wallet coins btc
  twinlock client wallet history btc --csv > btc.csv
  twinlock client wallet address btc --amount 0.01 --qr
  twinlock client wallet send btc bitcoin:bc1q...?amount=0.01
  twinlock client wallet send btc bc1q... 0.01 --coin TXID:0 --coin TXID:3
  twinlock client wallet sweep btc bc1q...
  twinlock client wallet sweep btc --key-file paper.wif
  twinlock client wallet bump btc TXID --fee-rate 40 --budget 0.0001
  twinlock client wallet pull btc TXID --fee-rate 40 --budget 0.0001
  twinlock client wallet freeze btc TXID:0
  twinlock client wallet freeze btc TXID:0 --thaw
  twinlock client wallet psbt make btc 0.5 --out deposit.psbt
  twinlock client wallet psbt sign btc deposit.psbt --out signed.psbt
  twinlock client wallet psbt send btc signed.psbt
  twinlock client wallet descriptor btc
  twinlock client wallet rescan btc --gap-limit 200
  twinlock client wallet rescan btc --from 0
  twinlock client wallet add ltc --electrum ssl://electrum-ltc.example:51002
  twinlock client wallet add ltc --kind node --node http://127.0.0.1:9332/wallet/trade --node-secret ~/.litecoin/.cookie
"""

fee_rate_option = click.option(
    "--fee-rate", type=click.IntRange(0), default=0, help="Atoms per vbyte; the chain's own estimate without it."
)


def points(_context: click.Context, _parameter: click.Parameter, coins: tuple[str, ...]) -> tuple[str, ...]:
    """Each names an output."""
    for coin in coins:
        if not re.fullmatch(r"[0-9a-f]{64}:\d{1,10}", coin):
            raise click.BadParameter(f"{coin} names no coin: write TXID:INDEX, as `wallet coins` shows it")
    return coins


coins_option = click.option(
    "--coin", "coins", multiple=True, metavar="TXID:INDEX", callback=points, help="Spend exactly these coins."
)
label_option = click.option("--label", default="", help="What to call the transaction.")


@click.group(cls=ExampledGroup, epilog=EXAMPLES)
def wallet() -> None:
    """Balances, addresses, payments."""


# What is there -------------------------------------------------------------------------------------------


@wallet.command("show")
@pass_setting
def show(setting: Setting) -> None:
    """Every atom, by what it is good for."""
    found = ask(setting, lambda remote: remote.get("/wallets", list[views.WalletView]))
    names = ["available", "locked", "in_swap", "bonded", "immature", "unconfirmed", "outside", "total"]
    factor = {row.asset: coin_of(setting, row.asset).conversion_factor for row in found}
    rows = [[row.asset, *(amount_text(getattr(row, name), factor[row.asset]) for name in names)] for row in found]
    setting.show(found, lambda: table(["coin", *names], rows))
    for row in found:
        if row.older:
            told = f"{row.asset}: {row.older} transactions below the birthday, block {row.birthday}, count for nothing."
            click.echo(f"{told} If they should: twinlock client wallet rescan {row.asset} --from 0", err=True)
    if unseen := [row.asset for row in found if not row.scanned]:
        raise still_scanning(", ".join(unseen))


@wallet.command("coins")
@click.argument("symbol")
@pass_setting
def coins(setting: Setting, symbol: str) -> None:
    """Every unspent output."""
    found = ask(setting, lambda remote: remote.get(f"/wallets/{symbol}/coins", list[views.CoinView]))
    _show_coins(setting, symbol, found)


@wallet.command("history")
@click.argument("symbol")
@click.option("--csv", "as_csv", is_flag=True, help="As comma-separated values, for spreadsheets.")
@pass_setting
def history(setting: Setting, symbol: str, *, as_csv: bool) -> None:
    """Every transaction, oldest first."""
    found = ask(setting, lambda remote: remote.get(f"/wallets/{symbol}/history", list[Payment]))
    coin = coin_of(setting, symbol)
    if as_csv:
        click.echo(to_csv(coin, found), nl=False)
        return
    rows = [
        [
            clock_time((p.time or 0) * 1000),
            p.txid,
            _signed(p.net, coin.conversion_factor),
            "" if p.fee is None else amount_text(p.fee, coin.conversion_factor),
            str(p.height or "waiting"),
            p.label,
        ]
        for p in found
    ]
    setting.show(found, lambda: table(["time", "transaction", coin.unit, "fee", "block", "label"], rows))


@wallet.command("descriptor")
@click.argument("symbol")
@pass_setting
def descriptor(setting: Setting, symbol: str) -> None:
    """The account for a watch-only wallet elsewhere. It holds no secret, but shows every payment."""
    found = ask(setting, lambda remote: remote.get(f"/wallets/{symbol}/descriptor", dict[str, str]))
    setting.show(found, lambda: table(["descriptor"], [[found["descriptor"]]]))


@wallet.command("rescan")
@click.argument("symbol")
@click.option(
    "--gap-limit",
    type=click.IntRange(20, 10_000),
    default=100,
    show_default=True,
    help="Addresses beyond the last used.",
)
@click.option("--from", "since", type=click.IntRange(0), metavar="HEIGHT", help="Look from this block on, for good.")
@pass_setting
def rescan(setting: Setting, symbol: str, gap_limit: int, since: int | None) -> None:
    """Look at more addresses beyond the last used one, and with --from further back than the birthday.

    A node looks through its own blocks, from the birthday or from --from on.
    """
    body = requests.RescanRequest(gap_limit, since)
    found = ask(setting, lambda remote: remote.post(f"/wallets/{symbol}/rescan", list[views.CoinView], body))
    _show_coins(setting, symbol, found)


# Receiving -----------------------------------------------------------------------------------------------


@wallet.command("address")
@click.argument("symbol")
@click.option(
    "--kind",
    type=click.Choice(["receive", "taproot", "deposit"]),
    default="receive",
    show_default=True,
    help="taproot: BIP 86; deposit: of a cold wallet, to trade with.",
)
@click.option("--amount", default="", help="Ask for so many whole coins.")
@click.option("--label", default="", help="What the payer is to read.")
@click.option("--qr", is_flag=True, help="Draw the request as a QR code.")
@pass_setting
def address(
    setting: Setting, symbol: str, kind: Literal["receive", "taproot", "deposit"], amount: str, label: str, *, qr: bool
) -> None:
    """A fresh receive address, and the request for a payment to it (BIP 21)."""
    body = requests.AddressRequest(kind)
    fresh = ask(setting, lambda remote: remote.post(f"/wallets/{symbol}/address", views.AddressView, body))
    coin = coin_of(setting, symbol)
    atoms = parse_amount(amount, coin.conversion_factor) if amount else 0
    found = {"address": fresh.address, "uri": uri.make(coin, uri.Request(fresh.address, atoms, label))}
    setting.show(found, lambda: table(["address", "request"], [[found["address"], found["uri"]]]))
    if qr:
        segno.make(found["uri"], error="m").terminal(out=sys.stderr if setting.as_json else sys.stdout, compact=True)


# Paying --------------------------------------------------------------------------------------------------


@wallet.command("send")
@click.argument("symbol")
@click.argument("address")
@click.argument("amount", default="")
@fee_rate_option
@coins_option
@label_option
@pass_setting
def send(
    setting: Setting, symbol: str, address: str, amount: str, fee_rate: int, coins: tuple[str, ...], label: str
) -> None:
    """Pay AMOUNT (in whole coins, like 0.25) to ADDRESS, or what a payment request (BIP 21) asks for."""
    coin = coin_of(setting, symbol)
    request = uri.parse(coin, address)
    if not (amount or request.amount):
        raise click.UsageError("say how much: AMOUNT is missing, and the request names none")
    atoms = some(amount, coin) if amount else request.amount
    body = requests.PayRequest(request.address, atoms, fee_rate, list(coins), label or request.label)
    _sent(setting, symbol, "send", body)


@wallet.command("sweep")
@click.argument("symbol")
@click.argument("address", default="")
@click.option(
    "--key-file", type=click.Path(exists=True, path_type=Path), help="Take what this private key (WIF) can spend."
)
@fee_rate_option
@coins_option
@label_option
@pass_setting
def sweep(
    setting: Setting,
    symbol: str,
    address: str,
    key_file: Path | None,
    fee_rate: int,
    coins: tuple[str, ...],
    label: str,
) -> None:
    """Pay all that is available to ADDRESS; without one, to where payouts go."""
    key = key_file.read_text().strip() if key_file else ""
    _sent(setting, symbol, "sweep", requests.SweepRequest(address, fee_rate, list(coins), label, key))


def _raise_fee(setting: Setting, symbol: str, how: str, txid: str, fee_rate: int, budget: str) -> None:
    atoms = parse_amount(budget, coin_of(setting, symbol).conversion_factor)
    _sent(setting, symbol, how, requests.RaiseRequest(txid, fee_rate, atoms))


@wallet.command("bump")
@click.argument("symbol")
@click.argument("txid")
@click.option("--fee-rate", type=click.IntRange(1), required=True, help="Atoms per vbyte.")
@click.option("--budget", required=True, help="The most that the fee may rise by, in whole coins.")
@pass_setting
def bump(setting: Setting, symbol: str, txid: str, fee_rate: int, budget: str) -> None:
    """Replace a payment in the mempool by one that pays more (RBF)."""
    _raise_fee(setting, symbol, "bump", txid, fee_rate, budget)


@wallet.command("pull")
@click.argument("symbol")
@click.argument("txid")
@click.option("--fee-rate", type=click.IntRange(1), required=True, help="Atoms per vbyte, of both together.")
@click.option("--budget", required=True, help="The most that the child may pay, in whole coins.")
@pass_setting
def pull(setting: Setting, symbol: str, txid: str, fee_rate: int, budget: str) -> None:
    """Let a child pay for a transaction in the mempool (CPFP)."""
    _raise_fee(setting, symbol, "pull", txid, fee_rate, budget)


# PSBTs ---------------------------------------------------------------------------------------------------


@wallet.group("psbt")
def psbt() -> None:
    """Transactions that are signed elsewhere."""


@psbt.command("make")
@click.argument("symbol")
@click.argument("amount")
@click.argument("address", default="")
@fee_rate_option
@coins_option
@click.option("--out", type=click.Path(path_type=Path), help="Write it to a file.")
@pass_setting
def psbt_make(
    setting: Setting, symbol: str, amount: str, address: str, fee_rate: int, coins: tuple[str, ...], out: Path | None
) -> None:
    """Pay AMOUNT to ADDRESS; without one, to an address that this wallet can trade from."""
    atoms = some(amount, coin_of(setting, symbol))
    body = requests.DraftRequest(atoms, address, fee_rate, list(coins))
    _show_psbt(setting, ask(setting, lambda remote: remote.post(f"/wallets/{symbol}/psbt", dict[str, str], body)), out)


@psbt.command("sign")
@click.argument("symbol")
@click.argument("file", type=click.File("r"))
@click.option("--out", type=click.Path(path_type=Path), help="Write it to a file.")
@pass_setting
def psbt_sign(setting: Setting, symbol: str, file: Any, out: Path | None) -> None:
    """Add our signatures."""
    body = requests.PsbtRequest(file.read())
    path = f"/wallets/{symbol}/psbt/sign"
    _show_psbt(setting, ask(setting, lambda remote: remote.post(path, dict[str, str], body), withdraw=True), out)


@psbt.command("send")
@click.argument("symbol")
@click.argument("file", type=click.File("r"))
@label_option
@pass_setting
def psbt_send(setting: Setting, symbol: str, file: Any, label: str) -> None:
    """Finish a signed one and broadcast it."""
    _sent(setting, symbol, "psbt/send", requests.PsbtRequest(file.read(), label))


# Names ---------------------------------------------------------------------------------------------------


wallet.add_command(labels)


@wallet.command("freeze")
@click.argument("symbol")
@click.argument("coins", nargs=-1, required=True, metavar="TXID:INDEX...", callback=points)
@click.option("--thaw", is_flag=True, help="Let them be spent again.")
@pass_setting
def freeze(setting: Setting, symbol: str, coins: tuple[str, ...], *, thaw: bool) -> None:
    """Set coins aside, so that nothing spends them."""
    body = requests.FreezeRequest(list(coins), not thaw)
    found = ask(setting, lambda remote: remote.post(f"/wallets/{symbol}/freeze", list[views.CoinView], body))
    _show_coins(setting, symbol, found)


# Which wallets there are ---------------------------------------------------------------------------------


@wallet.command("add")
@click.argument("symbol")
@click.option("--electrum", "servers", multiple=True, required=True, help="Such as ssl://host:50002; several may be.")
@click.option(
    "--kind", type=click.Choice(["light", "node", "cold"]), default="light", show_default=True, help="Who has the keys."
)
@click.option("--proxy", default="", help="Such as socks5://127.0.0.1:9050, for Tor.")
@click.option("--node", default="", help="Of node wallets: http://host:port/wallet/NAME.")
@click.option("--node-secret", type=click.Path(), default="", help="File with user:password, such as the cookie.")
@click.option("--descriptor-file", type=click.File("r"), help="Of cold wallets: descriptor or extended public key.")
@click.option(
    "--birthday",
    type=click.IntRange(0),
    default=0,
    help="Height below which nothing is ours or looked at.",
)
@pass_setting
def add(setting: Setting, /, symbol: str, servers: tuple[str, ...], descriptor_file: Any, **given: Any) -> None:
    """Write a wallet into the configuration; it counts from the next start on."""
    coin_of(setting, symbol)
    row = {"symbol": symbol, "electrum": list(servers), **{name: value for name, value in given.items() if value}}
    if descriptor_file is not None:
        row["descriptor"] = descriptor_file.read().strip()
    document = tomlkit.parse(setting.path.read_text())
    if not document.get("wallets"):
        document["wallets"] = tomlkit.aot()  # also in place of an empty list
    document["wallets"].append(tomlkit.item(row))
    text = tomlkit.dumps(document)
    configuration.parse(text)  # refused before it is written
    setting.path.write_text(text)
    setting.show(row, lambda: table(["coin", "kind"], [[symbol, str(given["kind"])]]))


# ---------------------------------------------------------------------------------------------------------


def _sent(setting: Setting, symbol: str, how: str, body: msgspec.Struct) -> None:
    path = f"/wallets/{symbol}/{how}"
    found = ask(setting, lambda remote: remote.post(path, views.SentView, body), withdraw=True)
    fee = amount_text(found.fee, coin_of(setting, symbol).conversion_factor)
    setting.show(found, lambda: table(["transaction", "fee"], [[found.txid, fee]]))


def _show_coins(setting: Setting, symbol: str, found: list[views.CoinView]) -> None:
    factor = coin_of(setting, symbol).conversion_factor
    rows = [
        [c.coin, amount_text(c.value, factor), c.address, str(c.height or "waiting"), c.state, c.locked_for]
        for c in found
    ]
    setting.show(found, lambda: table(["coin", "value", "address", "block", "state", "for"], rows))


def _show_psbt(setting: Setting, found: dict[str, str], out: Path | None) -> None:
    if out is not None:
        out.write_text(found["psbt"] + "\n")
        click.echo(
            msgspec.json.encode({"file": str(out)}) if setting.as_json else f"written to {out}", err=not setting.as_json
        )
    elif setting.as_json:
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(found["psbt"])  # one line, to be copied


def _signed(atoms: int, factor: int) -> str:
    return f"-{amount_text(-atoms, factor)}" if atoms < 0 else amount_text(atoms, factor)
