"""`twinlock audit`: replay the epoch ledger of a server or of a file, and fail on any edit."""

from __future__ import annotations

import json
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from urllib.parse import urlsplit

import click
import httpx
import msgspec

from twinlock.errors import TwinlockError
from twinlock.protocol.audit import Auditor
from twinlock.protocol.ledger import Entry, Epoch, LedgerError, Record, Removal, digest, parse_line
from twinlock.protocol.wire import encode

_PAGE = 1_000
_TRIES = 30
_PAUSE_MAX_S = 60

Sleep = Callable[[float], None]


class _Place(msgspec.Struct):
    """As much of a record as tells whose it is."""

    market: str
    number: int


class _Market(msgspec.Struct):
    name: str


class _Config(msgspec.Struct):
    """As much of a server's `config` as an audit needs."""

    pubkey: str
    markets: list[_Market]


@click.command()
@click.argument("source")
@click.option("--key", help="The server's public key, hex. Without it: what the server, or the file itself, names.")
@click.option("--certificate", type=click.Path(exists=True, path_type=Path), help="The server's certificate, PEM.")
@click.option("--tip", "tips", multiple=True, help="A tip that an earlier audit told, hex: the ledger must contain it.")
@click.option("--head", help="A server, as https://host:7232, whose ledger must not go on after the last entry.")
@click.option("--order", "order_id", default="", help="Show also what the ledger tells of this order ID.")
@click.option("--save", type=click.File("wb"), help="Keep the entries, one a line, as evidence.")
@click.option("--json", "as_json", is_flag=True, help="Tell the result as JSON.")
def audit(
    source: str,
    key: str | None,
    certificate: Path | None,
    tips: tuple[str, ...],
    head: str | None,
    order_id: str,
    save: BinaryIO | None,
    *,
    as_json: bool,
) -> None:
    """Replay the ledger at SOURCE with the true matcher.

    SOURCE is a file of entries, one a line; a server such as https://host:7232 for all of its markets; or one market's
    ledger such as https://host:7232/api/ledger/ltc/btc. Ends with 1 at the first record that does not hold.

    A ledger whose last entries were cut off replays as well: only --tip and --head find what is missing at its end.
    """
    run = Run(order_id.lower(), save)
    try:
        if urlsplit(source).scheme in ("http", "https"):
            with _client(certificate) as client:
                key, lines = remote(client, source, key, time.sleep)
                run.replay(lines, key)
        else:
            with Path(source).open("rb") as file:
                run.replay(file, key)
        run.must_contain(tips)
        if head is not None:
            with _client(certificate) as client:
                run.must_end_with(lambda market, number: _page(client, head, market, number))
    except TwinlockError as error:
        _refuse(run, error, as_json)
    except (OSError, httpx.HTTPError, ValueError) as error:
        raise click.ClickException(f"{source}: {error}") from error
    _tell(run, key is not None, as_json)


class Run:
    """The replay of every market that the entries belong to."""

    def __init__(self, order_id: str, save: BinaryIO | None) -> None:
        self.auditors: dict[str, Auditor] = {}
        self.found: list[dict[str, Any]] = []
        self.at = _Place("", 0)
        self._order_id = order_id
        self._save = save
        self._tips: set[str] = set()

    def replay(self, lines: Iterator[bytes] | BinaryIO, key: str | None) -> None:
        """Take every entry. Raises LedgerError."""
        server_key = bytes.fromhex(key) if key is not None else None
        for line in lines:
            entry = parse_line(line)
            self.at = _place(entry)
            auditor = self.auditors.setdefault(self.at.market, Auditor(server_key))
            record = auditor.take_entry(entry)
            self._tips.add(auditor.tip.hex())
            if self._order_id:
                self.found += list(_mentions(record, self._order_id))
            if self._save is not None:
                self._save.write(entry.line())
        if not self.auditors:
            raise LedgerError("there is no entry", code="ledger.empty", fix="name a ledger that has begun")

    def must_contain(self, tips: Iterable[str]) -> None:
        """Every tip that is known from elsewhere was met. Raises LedgerError."""
        for tip in tips:
            if tip.lower() not in self._tips:
                _cut_off(f"no record has the digest {tip}, which an earlier audit saw")

    def must_end_with(self, following: Callable[[str, int], Sequence[bytes]]) -> None:
        """The server's ledgers end where these do. following: a market's lines from a number on. Raises LedgerError."""
        for market, auditor in self.auditors.items():
            self.at = _Place(market, auditor.last)
            last, *more = following(market, auditor.last) or [b""]
            if not last or digest(bytes(parse_line(last).record)) != auditor.tip:
                _cut_off(f"the server has another record at number {auditor.last} of {market}, or none")
            if more:
                _cut_off(f"the server's ledger of {market} goes on after number {auditor.last}")


def _cut_off(message: str) -> NoReturn:
    raise LedgerError(
        message, code="ledger.truncated", fix="get the ledger again, and ask its server what became of it"
    )


def _place(entry: Entry) -> _Place:
    try:
        return msgspec.json.decode(entry.record, type=_Place)
    except msgspec.MsgspecError as error:
        raise LedgerError(f"not a record: {error}", code="ledger.form") from error


def _mentions(record: Record, order_id: str) -> Iterator[dict[str, Any]]:
    """What a record tells of an order, record by record."""
    where = {"record": record.number, "market": record.market}
    if isinstance(record, Epoch):
        for order in record.orders:
            if order_id in (order.order_id.hex(), order.target.hex()):
                missed = order.order_id in record.misses
                yield where | {"epoch": record.epoch, "missed": missed, "order": _plain(order)}
        for fill in record.fills:
            if order_id in (fill.taker.hex(), fill.maker.hex()):
                yield where | {"epoch": record.epoch, "fill": _plain(fill)}
        if order_id in (gone.hex() for gone in record.expired):
            yield where | {"epoch": record.epoch, "left": "expired"}
    elif isinstance(record, Removal) and order_id in (gone.hex() for gone in record.orders):
        yield where | {"left": record.reason}


def _plain(value: object) -> Any:
    return json.loads(encode(value))


def _client(certificate: Path | None) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(certificate) if certificate else None)
    return httpx.Client(verify=context)


def remote(client: httpx.Client, source: str, key: str | None, sleep: Sleep) -> tuple[str, Iterator[bytes]]:
    """The server's key, and the lines of one market's ledger or of all. Raises LedgerError for what is no exchange."""
    root, api, _ = source.partition("/api/")
    answer = _get(client, root.rstrip("/") + "/api/config", {}, sleep).content
    try:
        config = msgspec.json.decode(answer, type=_Config)
    except msgspec.MsgspecError as error:
        raise LedgerError(f"{root} is no exchange: {error}", code="ledger.form") from error
    urls = [source] if api else [f"{root.rstrip('/')}/api/ledger/{_path(market.name)}" for market in config.markets]
    return key or config.pubkey, (line for url in urls for line in _download(client, url, sleep))


def _path(market: str) -> str:
    return "/".join(market.split("_", 1))


def _page(client: httpx.Client, root: str, market: str, first: int) -> list[bytes]:
    """The first lines of a market's ledger from a number on."""
    url = f"{root.rstrip('/')}/api/ledger/{_path(market)}"
    lines: list[bytes] = _get(client, url, {"from": first, "count": 2}, time.sleep).content.splitlines()
    return lines


def _download(client: httpx.Client, url: str, sleep: Sleep) -> Iterator[bytes]:
    """All lines of a market's ledger, a page at a time."""
    first = 0
    while lines := _get(client, url, {"from": first, "count": _PAGE}, sleep).content.splitlines():
        yield from lines
        first = _place(parse_line(lines[-1])).number + 1


def _get(client: httpx.Client, url: str, params: dict[str, int], sleep: Sleep) -> Any:
    """A response; asked again, as late as the server wants, where it is asked too often."""
    for _ in range(_TRIES):
        response = client.get(url, params=params)
        if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
            break
        wanted = response.headers.get("Retry-After", "")
        sleep(min(int(wanted), _PAUSE_MAX_S) if wanted.isdecimal() else 1)
    return response.raise_for_status()


def _refuse(run: Run, error: TwinlockError, as_json: bool) -> None:
    where = {"market": run.at.market, "record": run.at.number} | error.numbers
    if as_json:
        click.echo(json.dumps({"ok": False, "code": error.code, "message": str(error), **where}))
    else:
        numbers = ", ".join(f"{name} {value}" for name, value in where.items())
        click.echo(f"The ledger does not hold: {error} [{error.code}] ({numbers})", err=True)
    sys.exit(1)


def _tell(run: Run, pinned: bool, as_json: bool) -> None:
    rows = [
        {
            "market": market,
            "first": auditor.first,
            "records": auditor.records,
            "epochs": auditor.epochs,
            "orders": auditor.orders,
            "fills": auditor.fills,
            "booked": len(auditor.book),
            "tip": auditor.tip.hex(),
            "key": (auditor.server_key or b"").hex(),
        }
        for market, auditor in run.auditors.items()
    ]
    if as_json:
        click.echo(json.dumps({"ok": True, "pinned": pinned, "markets": rows, "found": run.found}))
        return
    for row in rows:
        click.echo(
            "{market}: {records} records from number {first}; {epochs} epochs, {fills} fills replay".format(**row)
        )
        click.echo("  tip {tip}".format(**row))
        if not pinned:
            click.echo("  signed by {key}: compare it with the server's key".format(**row))
    for told in run.found:
        click.echo(json.dumps(told))
