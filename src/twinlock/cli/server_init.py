"""`twinlock server init`: the wizard's questions. A wrong answer is told, and asked for again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from twinlock.chain.coins import Coin, Network, coin
from twinlock.cli.answers import answer, json_option
from twinlock.electrum.transport import Endpoint
from twinlock.errors import TwinlockError
from twinlock.seams import SystemClock, SystemEntropy
from twinlock.server.config import DEFAULT_PORT, check_address
from twinlock.server.setup import wizard
from twinlock.server.setup.wizard import Answers, CoinAnswers
from twinlock.server.wallet import DexWallet

T = TypeVar("T")

_FIRST_INDEXER_PORT = 50_001


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default="server.toml")
@click.option("--network", type=click.Choice([str(network) for network in Network]), help="Where every asset lives.")
@click.option("--electrum", "indexers", multiple=True, metavar="COIN=URL", help="An indexer of COIN; several stand by.")
@click.option("--market", "markets", multiple=True, metavar="BASE_QUOTE", help="A market, such as ltc_btc.")
@click.option("--price", "prices", multiple=True, metavar="MARKET=PRICE", help="Roughly; sizes the lots.")
@click.option("--listen", help="host:port for clients.")
@click.option("--onion-listen", default="", help="host:port for an onion service on this machine.")
@click.option("--name", "names", multiple=True, help="A name or address that clients type.")
@click.option("--db-url", default="", help="SQLAlchemy URL of PostgreSQL; SQLite without it.")
@click.option("--bond-xpub", "xpubs", multiple=True, metavar="COIN=XPUB", help="Where you are paid in COIN.")
@click.option("--key-password-file", type=click.Path(exists=True, path_type=Path), help="Password of the signing key.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the options, and the defaults for the rest.")
@json_option
def init(path: Path, yes: bool, key_password_file: Path | None, as_json: bool, **given: Any) -> None:
    """Write a whole exchange beside PATH: configuration, signing key, certificate, passwords, systemd unit."""
    wizard.refuse_to_overwrite(path)
    answers = _answers(given, ask=not yes)
    password = key_password_file.read_text().rstrip("\r\n") if key_password_file else ""
    if not yes and not password:
        password = click.prompt(
            "Password of the signing key (empty: a random one)",
            default="",
            show_default=False,
            hide_input=True,
            confirmation_prompt=True,
        )
    written = wizard.write_all(path, answers, password, SystemClock(), SystemEntropy())
    lines = (
        *map(str, written.files),
        f"Public key: {written.public_key}",
        "Keep a copy of the signing key and its password elsewhere: accounts belong to this key.",
        f"Next: twinlock server doctor --config {path}, then: twinlock server run --config {path}",
    )
    answer({"files": written.files, "public_key": written.public_key}, "\n".join(lines), as_json=as_json)


def _answers(given: dict[str, Any], *, ask: bool) -> Answers:
    """What the options say, the rest asked for or by default."""

    def settle(question: str, default: str, meaning: Callable[[str], T]) -> T:
        return _question(question, default, meaning) if ask else meaning(default)

    network = (
        Network(given["network"])
        if given["network"]
        else settle(f"Network ({', '.join(Network)})", "regtest", _network)
    )
    markets = given["markets"] or settle(
        "Markets, base_quote, separated by spaces", "ltc_btc", partial(_markets, network)
    )
    symbols = dict.fromkeys(symbol for market in markets for symbol in market.split("_", 1))
    indexers, xpubs = _by_coin(given["indexers"]), dict(_pair(text) for text in given["xpubs"])
    coins = []
    for number, symbol in enumerate(symbols):
        row = coin(symbol, network)
        default = f"tcp://127.0.0.1:{_FIRST_INDEXER_PORT + number * 1_000}"
        servers = indexers.get(symbol) or settle(f"Indexers of {row.name}, best first", default, _indexers)
        xpub = xpubs.get(symbol) or settle(
            f"Extended public key you are paid to in {row.name}", "", partial(_xpub, row)
        )
        coins.append(CoinAnswers(symbol=symbol, electrum=servers, bond_xpub=xpub))
    prices = dict(_pair(text) for text in given["prices"])
    for market in markets if ask else ():
        if market not in prices:
            prices[market] = _question(
                f"Price in {market}, roughly (it sizes the lots)",
                "0.01",
                partial(_price, market, network),
            )
    return Answers(
        network=network,
        coins=tuple(coins),
        markets=tuple(markets),
        listen=given["listen"] or settle("Address for clients", f"127.0.0.1:{DEFAULT_PORT}", _address),
        names=given["names"] or settle("Names that clients type", "", lambda text: tuple(text.split())),
        onion_listen=given["onion_listen"],
        db_url=given["db_url"],
        prices=prices,
    )


def _question(question: str, default: str, meaning: Callable[[str], T]) -> T:
    """Ask until the answer means something."""

    def value(text: str) -> T:
        try:
            return meaning(text)
        except TwinlockError as error:
            raise click.BadParameter(f"{error}. {error.fix}" if error.fix else str(error)) from error

    found: T = click.prompt(question, default=default, show_default=bool(default), value_proc=value)
    return found


def _network(text: str) -> Network:
    if text not in [str(network) for network in Network]:
        raise click.BadParameter(f"{text!r} is not one of {', '.join(Network)}")
    return Network(text)


def _markets(network: Network, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split()))
    for name in names:
        base, _, quote = name.partition("_")
        if not quote or base == quote:
            raise click.BadParameter(f"{name!r} is no market: write BASE_QUOTE, such as ltc_btc")
        for symbol in (base, quote):
            coin(symbol, network)
    if not names:
        raise click.BadParameter("an exchange has a market")
    return names


def _indexers(text: str) -> tuple[str, ...]:
    urls = tuple(text.split())
    for url in urls:
        Endpoint.parse(url)
    if not urls:
        raise click.BadParameter("each coin needs an indexer")
    return urls


def _xpub(row: Coin, text: str) -> str:
    if text:
        DexWallet(row, text)
    return text


def _price(market: str, network: Network, text: str) -> str:
    base, _, quote = market.partition("_")
    wizard.default_lot(coin(base, network), coin(quote, network), text)
    return text


def _address(text: str) -> str:
    check_address("listen", text)
    return text


def _by_coin(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for symbol, url in map(_pair, texts):
        found[symbol] = (*found.get(symbol, ()), url)
    return found


def _pair(text: str) -> tuple[str, str]:
    symbol, mark, value = text.partition("=")
    if not mark:
        raise click.BadParameter(f"{text!r} is not COIN=VALUE")
    return symbol, value
