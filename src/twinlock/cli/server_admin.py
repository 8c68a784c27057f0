"""`twinlock server admin`: look at a running exchange and change it, over the operator's API.

Exit codes: 0 done, 1 refused (the reason is told), 2 wrong usage, 3 the password is wrong, 4 no answer.
"""

from __future__ import annotations

import getpass
import os
import ssl
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import httpx
import msgspec
from rich.table import Column, Table
from rich.text import Text

from twinlock.cli.answers import show
from twinlock.server.app import TLS_FOLDER
from twinlock.server.config import load_config
from twinlock.server.db.history import PAGE_MAX
from twinlock.server.process import running

REFUSED, DENIED, ABSENT = 1, 3, 4


class Remote:
    """The operator's API of one exchange."""

    def __init__(self, url: str, certificate: Path | None, password: str, as_json: bool) -> None:
        self._url, self._certificate, self._password, self._as_json = url, certificate, password, as_json

    def get(self, path: str, **query: Any) -> Any:
        """Look at something."""
        return self._ask("GET", path, query)

    def post(self, path: str, text: str = "", **query: Any) -> Any:
        """Change something."""
        return self._ask("POST", path, query, text)

    def show(self, found: Any, *columns: str) -> None:
        """As JSON, or as a table of those columns."""
        if self._as_json:
            click.echo(msgspec.json.encode(found))
            return
        rows = found if isinstance(found, list) else [found]
        if not rows:
            click.echo("none")
            return
        if not all(isinstance(row, dict) for row in rows):
            for row in rows:
                click.echo(row)
            return
        names = columns or tuple(dict.fromkeys(name for row in rows for name in row))
        table = Table(*(Column(name, overflow="fold") for name in names))
        for row in rows:
            table.add_row(*(Text(_text(row.get(name, ""))) for name in names))
        show(table)

    @property
    def as_json(self) -> bool:
        """Whether programs read the output."""
        return self._as_json

    def _ask(self, method: str, path: str, query: dict[str, Any], text: str = "") -> Any:
        security = ssl.create_default_context(cafile=str(self._certificate)) if self._certificate else True
        given = {name: value for name, value in query.items() if value is not None}
        try:
            with httpx.Client(verify=security, auth=(getpass.getuser(), self._password), trust_env=False) as http:
                answer = http.request(method, f"{self._url}/api/{path}", params=given, content=text, timeout=30)
        except httpx.TransportError as error:
            _end(ABSENT, f"{self._url} does not answer: {error}", "start the exchange, or correct admin_listen")
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            _end(DENIED, "the password is wrong", "use the one in admin_password_file")
        if not answer.is_success:
            told = _refusal(answer)
            _end(REFUSED, str(told.get("error", "")), str(told.get("fix", "")))
        return answer.json()


def _refusal(answer: httpx.Response) -> dict[str, object]:
    try:
        return msgspec.json.decode(answer.content, type=dict[str, object])
    except msgspec.DecodeError:
        return {"error": answer.text.strip() or answer.reason_phrase}


def _end(code: int, message: str, fix: str) -> NoReturn:
    click.echo(f"Error: {message}" + (f"\n{fix}" if fix else ""), err=True)
    sys.exit(code)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={inner}" for name, inner in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


pass_remote = click.make_pass_decorator(Remote)
_COUNT = click.option("-n", "count", type=click.IntRange(1, PAGE_MAX), default=100, show_default=True)
_AFTER = click.option("--after", help="TIME:ID of the last row of the page before.")


@click.group()
@click.option(
    "--config", "path", type=click.Path(path_type=Path, dir_okay=False), default="server.toml", envvar="TWINLOCK_SERVER"
)
@click.option("--url", help="https://host:port of the operator's API; what the configuration says without it.")
@click.option("--certificate", type=click.Path(exists=True, path_type=Path), help="What the server shows, with --url.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, path_type=Path),
    envvar="TWINLOCK_ADMIN_PASSWORD_FILE",
    help="The operator's password; that of the configuration, TWINLOCK_ADMIN_PASSWORD or a question without it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: atoms, message-rates, hex IDs, ms.")
@click.pass_context
def admin(
    context: click.Context,
    path: Path,
    url: str | None,
    certificate: Path | None,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Look at a running exchange, and change it."""
    if url is None:
        url, certificate, password_file = _configured(path, password_file)
    context.obj = Remote(url, certificate, _password(password_file), as_json)


def _configured(path: Path, password_file: Path | None) -> tuple[str, Path | None, Path | None]:
    settings = load_config(path).server
    if settings.admin_address is None:
        raise click.UsageError(f"{path} has no admin_listen")
    host, port = settings.admin_address
    state = running(settings.data_dir)
    if state is not None:
        port = state.ports.get("admin_listen", port)
    certificate = settings.data_dir / TLS_FOLDER / "server.cert" if settings.tls else None
    scheme = "https" if settings.tls else "http"
    own = settings.admin_password_file
    return f"{scheme}://{host}:{port}", certificate, password_file or (own if own and own.exists() else None)


def _password(file: Path | None) -> str:
    if file is not None:
        return file.read_text().rstrip("\r\n")
    if "TWINLOCK_ADMIN_PASSWORD" in os.environ:
        return os.environ["TWINLOCK_ADMIN_PASSWORD"]
    text: str = click.prompt("Operator's password", hide_input=True, err=True)
    return text


# Accounts ------------------------------------------------------------------------------------------------


@admin.command()
@click.option("--after", default="", help="The last ID of the page before.")
@_COUNT
@pass_remote
def accounts(remote: Remote, after: str, count: int) -> None:
    """Account IDs, a page at a time."""
    remote.show(remote.get("accounts", after=after, n=count))


@admin.command()
@click.argument("account")
@pass_remote
def account(remote: Remote, account: str) -> None:
    """Who an account is and how it stands."""
    remote.show(remote.get(f"account/{account}"))


@admin.command()
@click.argument("account")
@_COUNT
@click.option("--bad", is_flag=True, help="Only what cost points.")
@pass_remote
def outcomes(remote: Remote, account: str, count: int, bad: bool) -> None:
    """The newest outcomes of an account."""
    remote.show(remote.get(f"account/{account}/{'fails' if bad else 'outcomes'}", n=count))


@admin.command()
@click.argument("account")
@click.option("-n", "count", type=click.IntRange(1, PAGE_MAX), default=200, show_default=True)
@pass_remote
def explain(remote: Remote, account: str, count: int) -> None:
    """Every point of an account's score, with the match or order that it came from."""
    found = remote.get(f"account/{account}/explain", n=count)
    if remote.as_json:
        remote.show(found)
        return
    standing = found["reputation"]
    click.echo(f"score {standing['score']}, penalties {standing['penalties']}, bonds for tier {standing['bondedTier']}")
    if found["cancelScore"]:
        click.echo(f"of that {found['cancelScore']} for cancelling too much")
    remote.show(found["outcomes"], "stamp", "name", "score", "counts", "kind", "link", "market", "epoch")


@admin.command()
@click.argument("account")
@_AFTER
@_COUNT
@pass_remote
def orders(remote: Remote, account: str, after: str | None, count: int) -> None:
    """The orders of an account, newest first."""
    remote.show(remote.get(f"account/{account}/orders", after=after, n=count))


@admin.command("account-matches")
@click.argument("account")
@_AFTER
@_COUNT
@pass_remote
def account_matches(remote: Remote, account: str, after: str | None, count: int) -> None:
    """The matches of an account on either side, newest first."""
    remote.show(remote.get(f"account/{account}/matches", after=after, n=count))


@admin.command()
@click.argument("account")
@click.option("--match", "match_id", help="Only what this match cost.")
@pass_remote
def forgive(remote: Remote, account: str, match_id: str | None) -> None:
    """Take back what cost an account points."""
    remote.show(remote.post(f"account/{account}/" + (f"forgive_match/{match_id}" if match_id else "forgive_user")))


@admin.command()
@click.argument("text")
@click.option("--account", help="Only to this account.")
@pass_remote
def notify(remote: Remote, text: str, account: str | None) -> None:
    """Send everybody, or one account, a line of text."""
    remote.show(remote.post(f"account/{account}/notify" if account else "notifyall", text))


@admin.command("prepaid-bonds")
@click.option("-n", "count", default=1, show_default=True)
@click.option("--days", default=30, show_default=True)
@click.option("--strength", default=1, show_default=True, help="Tiers.")
@pass_remote
def prepaid_bonds(remote: Remote, count: int, days: int, strength: int) -> None:
    """Codes that count as bonds; each opens one account, once."""
    remote.show(remote.post("prepaybonds", n=count, days=days, strength=strength))


# Assets and markets --------------------------------------------------------------------------------------


@admin.command()
@pass_remote
def assets(remote: Remote) -> None:
    """Chains and fee rates."""
    remote.show(remote.get("assets"))


@admin.command()
@click.argument("symbol")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="Number of the first one.")
@click.option("-n", "count", type=click.IntRange(1, PAGE_MAX), default=10, show_default=True)
@pass_remote
def addresses(remote: Remote, symbol: str, first: int, count: int) -> None:
    """Receiving addresses of your own wallet (bond_xpub), for what you sell, such as prepaid bonds."""
    remote.show(remote.get(f"asset/{symbol}/addresses", first=first, n=count))


@admin.command("fee-scale")
@click.argument("symbol")
@click.argument("factor", type=float)
@pass_remote
def fee_scale(remote: Remote, symbol: str, factor: float) -> None:
    """Multiply the chain's fee estimates, until this is set again or fee_scale of the configuration is changed."""
    remote.show(remote.post(f"asset/{symbol}/setfeescale/{factor}"))


@admin.command()
@pass_remote
def markets(remote: Remote) -> None:
    """All markets."""
    remote.show(remote.get("markets"))


@admin.command("epoch-orders")
@click.argument("market")
@pass_remote
def epoch_orders(remote: Remote, market: str) -> None:
    """The orders of epochs that are not processed yet."""
    remote.show(remote.get(f"market/{market}/epochorders"))


@admin.command()
@click.argument("market")
@pass_remote
def book(remote: Remote, market: str) -> None:
    """The orders at rest."""
    found = remote.get(f"market/{market}/orderbook")
    remote.show(found if remote.as_json else found["orders"])


@admin.command()
@click.argument("market")
@click.option("--all", "ended", is_flag=True, help="Finished ones too.")
@_AFTER
@_COUNT
@pass_remote
def matches(remote: Remote, market: str, ended: bool, after: str | None, count: int) -> None:
    """The matches of a market, newest first."""
    remote.show(remote.get(f"market/{market}/matches", includeinactive=str(ended).lower(), after=after, n=count))


@admin.command("market-orders")
@click.argument("market")
@_AFTER
@_COUNT
@pass_remote
def market_orders(remote: Remote, market: str, after: str | None, count: int) -> None:
    """The orders of a market, finished ones too, newest first."""
    remote.show(remote.get(f"market/{market}/orders", after=after, n=count))


@admin.command()
@click.argument("market")
@click.option("--at", "at_ms", type=int, default=0, help="ms since 1970: after the epoch of that moment.")
@click.option("--empty", is_flag=True, help="Revoke every booked order.")
@pass_remote
def suspend(remote: Remote, market: str, at_ms: int, empty: bool) -> None:
    """Stop a market after its present epoch."""
    remote.show(remote.post(f"market/{market}/suspend", t=at_ms, persist=str(not empty).lower()))


@admin.command()
@click.argument("market")
@click.option("--at", "at_ms", type=int, default=0, help="ms since 1970: with the epoch of that moment.")
@pass_remote
def resume(remote: Remote, market: str, at_ms: int) -> None:
    """Start a stopped market."""
    remote.show(remote.post(f"market/{market}/resume", t=at_ms))


@admin.command("data-api")
@click.argument("state", type=click.Choice(["on", "off"]))
@pass_remote
def data_api(remote: Remote, state: str) -> None:
    """Answer the public data API, or not."""
    remote.show(remote.post(f"enabledataapi/{str(state == 'on').lower()}"))


@admin.command()
@click.option("--before", type=int, default=0, help="Only entries with lower numbers.")
@_COUNT
@pass_remote
def audit(remote: Remote, before: int, count: int) -> None:
    """What operators changed or tried to."""
    remote.show(remote.get("audit", before=before, n=count))
