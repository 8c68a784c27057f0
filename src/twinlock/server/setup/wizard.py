"""From an operator's answers to a whole configuration: TOML with comments, keys, certificate, systemd unit.

>>> btc = CoinAnswers(symbol="btc", electrum=("tcp://127.0.0.1:50001",))
>>> ltc = CoinAnswers(symbol="ltc", electrum=("tcp://127.0.0.1:51001",))
>>> answers = Answers(network=Network.REGTEST, coins=(btc, ltc), markets=("ltc_btc",))
>>> [market.name for market in parse_config(configuration(answers)).markets]
['ltc_btc']
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import tomlkit
from tomlkit.items import Table

from twinlock.chain.coins import Coin, Network, coin
from twinlock.chain.families import family_of
from twinlock.errors import Fault
from twinlock.protocol.rates import parse_rate, quote_to_base
from twinlock.seams import Clock, Entropy
from twinlock.server.comms.tls import ensure_certificate
from twinlock.server.config import DEFAULT_PORT, Config, load_config, parse_config
from twinlock.server.errors import ServerError
from twinlock.server.keyfile import KEY_FILE, ensure_signing_key
from twinlock.server.wallet import DexWallet

TLS_FOLDER = "tls"
KEY_PASSWORD_FILE = "key-password"  # noqa: S105 - the name of a file
ADMIN_PASSWORD_FILE = "admin-password"  # noqa: S105 - the name of a file
UNIT_FILE = "twinlock-server.service"
DATA_FOLDER = "data"
ADMIN_PORT = 6542
_EPOCH_MS = {Network.REGTEST: 5_000}
_PRICES = {Network.REGTEST: "0.01"}
_TEST_FEE_RATE = 20
_BROADCAST_MS = {Network.REGTEST: 60_000}


class SetupError(ServerError):
    """Nothing was written."""

    code = "server.setup"
    fault: Fault = "user"


class CoinAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """One asset. electrum: addresses, the preferred one first; bond_amount: atoms for a tier, 0 for none."""

    symbol: str
    electrum: tuple[str, ...]
    bond_amount: int = -1
    """-1: what the chain makes sensible."""
    bond_xpub: str = ""


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What only the operator knows. markets: names such as ``ltc_btc``, base first."""

    network: Network
    coins: tuple[CoinAnswers, ...]
    markets: tuple[str, ...]
    listen: str = f"127.0.0.1:{DEFAULT_PORT}"
    names: tuple[str, ...] = ()
    onion_listen: str = ""
    db_url: str = ""
    admin: bool = True
    prices: Mapping[str, str] = {}
    """By market, roughly: what one base coin costs in quote coins. Lots must be worth their fees on both chains."""


def configuration(answers: Answers) -> str:
    """The TOML file, commented. Raises ConfigError or UnknownAssetError for answers that make no exchange."""
    document = tomlkit.document()
    document.add(
        tomlkit.comment("An exchange by Twinlock. Times ending in _ms are milliseconds, in _s seconds; amounts")
    )
    document.add(tomlkit.comment("are atoms, fee rates atoms per vbyte. `twinlock server doctor` checks everything."))
    document.add(tomlkit.nl())
    document.add("server", _server(answers))
    assets, markets = tomlkit.aot(), tomlkit.aot()
    for chosen in answers.coins:
        assets.append(_asset(chosen, coin(chosen.symbol, answers.network)))
    for name in answers.markets:
        markets.append(_market(name, answers))
    document.add("assets", assets)
    document.add("markets", markets)
    text = tomlkit.dumps(document)
    parse_config(text)
    return text


def _server(answers: Answers) -> Table:
    server = tomlkit.table()
    _put(server, "data_dir", DATA_FOLDER, "keys, certificate and database; relative to this file")
    _put(server, "network", str(answers.network), "every asset lives on it")
    _put(server, "listen", answers.listen, "one port for WebSocket and HTTP, TLS always")
    _put(server, "names", list(answers.names), "what clients type, for the certificate")
    if answers.onion_listen:
        _put(server, "onion_listen", answers.onion_listen, "plain, for an onion service on this machine")
    if answers.db_url:
        _put(server, "db_url", answers.db_url, "without it, SQLite in data_dir")
    _put(server, "password_file", KEY_PASSWORD_FILE, "opens the signing key")
    if answers.admin:
        _put(server, "admin_listen", f"127.0.0.1:{ADMIN_PORT}", "the operator's page and API; keep it off the network")
        _put(server, "admin_password_file", ADMIN_PASSWORD_FILE, "asked for by the operator's page and API")
    timeout = _BROADCAST_MS.get(answers.network)
    if timeout is not None:
        _put(server, "broadcast_timeout_ms", timeout, "how long a side may take for each step of a swap")
    return server


def _asset(chosen: CoinAnswers, row: Coin) -> Table:
    asset = tomlkit.table()
    _put(asset, "symbol", chosen.symbol, row.name)
    _put(asset, "electrum", list(chosen.electrum), "the first that answers is used, the others stand by")
    _put(asset, "max_fee_rate", _max_fee_rate(row), "never raise it while orders are booked")
    _put(asset, "swap_conf", _swap_conf(row), "confirmations until the other side must act")
    bond = default_bond(row) if chosen.bond_amount < 0 else chosen.bond_amount
    _put(asset, "bond_amount", bond, "for one tier; 0: no bonds in this asset")
    _put(asset, "bond_confs", 1, "confirmations until a bond counts")
    if chosen.bond_xpub:
        DexWallet(row, chosen.bond_xpub)  # refuses what is no public key
        _put(asset, "bond_xpub", chosen.bond_xpub, "where the operator is paid; never a private key")
    return asset


def _market(name: str, answers: Answers) -> Table:
    symbol, _, quote = name.partition("_")
    base = next((chosen for chosen in answers.coins if chosen.symbol == symbol), None)
    if base is None or not quote:
        raise SetupError(f"market {name!r} is not made of the assets named", fix="write BASE_QUOTE, such as ltc_btc")
    row, other = coin(symbol, answers.network), coin(quote, answers.network)
    price = answers.prices.get(name) or _PRICES.get(answers.network)
    if price is None:
        raise SetupError(f"the size of a lot of {name} needs a price", fix=f"say --price {name}=... roughly")
    market = tomlkit.table()
    _put(market, "base", symbol, "what is bought and sold")
    _put(market, "quote", quote, "what prices are told in")
    _put(market, "lot_size", default_lot(row, other, price), "base atoms; quantities are multiples")
    _put(market, "rate_step", 100, "quote atoms per 10^8 base atoms; rates are multiples")
    _put(market, "epoch_ms", _EPOCH_MS.get(answers.network, 20_000), "orders are collected this long, then matched")
    return market


def _swap_conf(row: Coin) -> int:
    return 1 if row.network is Network.REGTEST else row.swap_conf


def default_lot(base: Coin, quote: Coin, price: str) -> int:
    """Base atoms: the smallest round number that is well above what a swap costs on both chains.

    The price may fall to half before the lot is worth too little.
    """
    rate = parse_rate(price, base.conversion_factor, quote.conversion_factor)
    if rate < 1:
        raise SetupError(f"a price of {price} is not above 0", fix="say roughly what one base coin costs")
    least = family_of(base).min_lot(_max_fee_rate(base)), family_of(quote).min_lot(_max_fee_rate(quote))
    return _round_up(2 * max(least[0], quote_to_base(rate, least[1])))


def _max_fee_rate(row: Coin) -> int:
    return min(row.max_fee_rate, _TEST_FEE_RATE) if row.network is Network.REGTEST else row.max_fee_rate


def default_bond(row: Coin) -> int:
    """Atoms: the smallest round number that is well above what making and refunding a bond costs."""
    return _round_up(10 * family_of(row).min_bond(_max_fee_rate(row)))


def _round_up(least: int) -> int:
    """1, 2 or 5 times a power of ten.

    >>> [_round_up(value) for value in (1, 3, 11, 51, 200)]
    [1, 5, 20, 100, 200]
    """
    scale: int = 10 ** (len(str(least)) - 1)
    return next(scale * step for step in (1, 2, 5, 10) if scale * step >= least)


def _put(table: Table, name: str, value: object, comment: str) -> None:
    table.add(name, value)
    table[name].comment(comment)


class Written(msgspec.Struct, frozen=True):
    """What the wizard made. public_key: hex of the server's signing key, which clients remember."""

    files: tuple[Path, ...]
    public_key: str


def write_all(path: Path, answers: Answers, key_password: str, clock: Clock, entropy: Entropy) -> Written:
    """Write configuration, passwords, signing key, certificate and unit beside each other. Raises SetupError.

    key_password: "" makes one. The admin password is always made here.
    """
    refuse_to_overwrite(path)
    text, folder = configuration(answers), path.parent.absolute()
    data = folder / DATA_FOLDER
    secrets = {folder / KEY_PASSWORD_FILE: key_password or entropy.token(24).hex()}
    if answers.admin:
        secrets[folder / ADMIN_PASSWORD_FILE] = entropy.token(16).hex()
    unit = folder / UNIT_FILE
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    for target, secret in secrets.items():
        _write(target, f"{secret}\n", 0o600)
    _write(path, text, 0o644)
    key = ensure_signing_key(data / KEY_FILE, secrets[folder / KEY_PASSWORD_FILE], entropy)
    (data / TLS_FOLDER).mkdir(exist_ok=True, mode=0o700)
    certificate = ensure_certificate(data / TLS_FOLDER, answers.names, clock.now_ms())
    _write(unit, systemd_unit(load_config(path), path.absolute()), 0o644)
    made = (path, *secrets, data / KEY_FILE, certificate.certificate, certificate.key, unit)
    return Written(made, key.public.hex())


def refuse_to_overwrite(path: Path) -> None:
    """Raises SetupError if anything is there that would be written beside `path`."""
    folder = path.parent.absolute()
    data = folder / DATA_FOLDER
    beside = (folder / name for name in (KEY_PASSWORD_FILE, ADMIN_PASSWORD_FILE, UNIT_FILE))
    for target in (path, *beside, data / KEY_FILE, data / TLS_FOLDER / "server.cert"):
        if target.exists():
            raise SetupError(
                f"{target} is there already", fix="name a configuration in another folder, or move it away"
            )


def systemd_unit(config: Config, path: Path) -> str:
    """A unit that runs the exchange as the present user, with nothing but its data folder writable."""
    program = shutil.which("twinlock") or f"{sys.executable} -m twinlock.cli.main"
    return f"""\
[Unit]
Description=Twinlock exchange
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={program} server run --config {path}
ExecReload=/bin/kill -HUP $MAINPID
User={os.environ.get("USER") or os.getuid()}
Restart=on-failure
RestartSec=2
TimeoutStopSec=60
LimitNOFILE={config.server.open_files}
ReadWritePaths={config.server.data_dir.absolute()}
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy=multi-user.target
"""


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
