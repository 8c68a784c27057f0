"""`twinlock client market`, `order` and `condition`: what there is to trade, and trading it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast
from urllib.parse import quote as quoted

import click
import msgspec
from rich.table import Table

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.paging import page, page_options
from twinlock.cli.setting import Setting, pass_setting, tell
from twinlock.cli.showing import clock_time, coins_of, priced, rate_of, sides, table, table_by_server, traded
from twinlock.client.control import requests, views
from twinlock.client.errors import OrderError
from twinlock.client.estimate import Estimate, MaxOrder
from twinlock.protocol.rates import amount_text, parse_amount, parse_rate
from twinlock.seams import SystemClock

F = TypeVar("F", bound=Callable[..., Any])

MARKET_EXAMPLES = """
\b
Examples:
  twinlock client market list
  twinlock client --json market list
  twinlock client --json market book ltc_btc
"""

ORDER_EXAMPLES = """
\b
Examples:
  twinlock client order limit ltc_btc sell 0.5 0.0025 --tag first
  twinlock client order market ltc_btc buy 0.01
  twinlock client order estimate ltc_btc sell 0.5 0.0025
  twinlock client order max ltc_btc buy 0.0025
  twinlock client order several orders.json
  twinlock client order list
  twinlock client order cancel 3f1c9a
"""

CONDITION_EXAMPLES = """
\b
Examples:
  twinlock client condition stop guard ltc_btc sell 0.5 --stop 0.0022 --rate 0.0021
  twinlock client condition stop bracket ltc_btc sell 0.5 --stop 0.0022 --rate 0.0021 --or-at 0.003
  twinlock client condition stop today ltc_btc buy 0.5 --stop 0.003 --rate 0.0031 --expire-after 600
  twinlock client condition list
  twinlock client condition cancel guard
"""


class OrderChoices(NamedTuple):
    """What `order_options` say."""

    post_only: bool
    expire_after: int | None
    max_matches: int

    def members(self) -> dict[str, Any]:
        """As the requests name them; the expiry counts from now on."""
        expiry = SystemClock().now_ms() + self.expire_after * 60_000 if self.expire_after else 0
        return {"post_only": self.post_only, "expiry": expiry, "max_matches": self.max_matches}


def order_options(command: F) -> F:
    """The options of a command that places limit orders: the members of `OrderChoices`."""
    for option in (
        click.option(
            "--max-matches", type=click.IntRange(0), default=0, help="End after so many matches, each one swap."
        ),
        click.option("--expire-after", type=click.IntRange(1), metavar="MINUTES", help="Leave the book after so long."),
        click.option("--post-only", is_flag=True, help="Rather end than take from the book."),
    ):
        command = option(command)
    return command


host_option = click.option("--host", default="", help="The server; the first configured one without it.")


@click.group(cls=ExampledGroup, epilog=MARKET_EXAMPLES)
def market() -> None:
    """What can be traded, and the books. Needs the daemon."""


@market.command("list")
@pass_setting
def market_list(setting: Setting) -> None:
    """Every market of every server."""
    found = tell(setting, lambda remote: remote.get("/markets", list[views.MarketView]))
    rows = [
        [
            row.host,
            row.name,
            traded(setting, row.name, row.lot_size),
            priced(setting, row.name, row.rate_step),
            priced(setting, row.name, row.last_rate),
        ]
        for row in found
    ]
    setting.show(found, lambda: table(["server", "market", "lot size", "rate step", "last rate"], rows))


@market.command("book")
@click.argument("name")
@host_option
@pass_setting
def market_book(setting: Setting, name: str, host: str) -> None:
    """The book of a market, best orders in the middle."""
    found = tell(setting, lambda remote: remote.get(f"/markets/{name}/book?host={quoted(host)}", views.BookView))
    base, quote = sides(setting, name)
    rows = [
        [
            side,
            amount_text(row.quantity, base.conversion_factor),
            rate_of(row.rate, base, quote),
            "*" if row.own else "",
        ]
        for side, orders in (("sell", list(reversed(found.sells))), ("buy", found.buys))
        for row in orders
    ]
    setting.show(found, lambda: table(["side", "quantity", "rate", "own"], rows))


@click.group(cls=ExampledGroup, epilog=ORDER_EXAMPLES)
def order() -> None:
    """Place, cancel and list orders. All but the list need the daemon."""


@order.command("limit")
@click.argument("name", metavar="MARKET")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("quantity")
@click.argument("rate")
@click.option("--immediate", is_flag=True, help="What does not match at once is not booked.")
@order_options
@host_option
@click.option("--split", is_flag=True, help="Make a coin of exactly the sum needed, so that no more is locked.")
@click.option("--tag", default="", help="Your own name for the order; placing it twice places it once.")
@pass_setting
def order_limit(
    setting: Setting,
    /,
    name: str,
    side: str,
    quantity: str,
    rate: str,
    *,
    immediate: bool,
    split: bool,
    tag: str,
    host: str,
    **chosen: Any,
) -> None:
    """Buy or sell QUANTITY of the base coin at RATE (quote per base) or better, both in whole coins."""
    base, quote = sides(setting, name)
    body = {
        "market": name,
        "side": side,
        "quantity": parse_amount(quantity, base.conversion_factor),
        "rate": parse_rate(rate, base.conversion_factor, quote.conversion_factor),
        "force": "immediate" if immediate else "standing",
        "split": split,
        "tag": tag,
        "host": host,
    } | OrderChoices(**chosen).members()
    _place(setting, body)


@order.command("market")
@click.argument("name", metavar="MARKET")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("quantity")
@click.option("--max-matches", type=click.IntRange(0), default=0, help="End after so many matches, each one swap.")
@click.option("--tag", default="", help="Your own name for the order; placing it twice places it once.")
@host_option
@pass_setting
def order_market(
    setting: Setting, name: str, side: str, quantity: str, *, max_matches: int, tag: str, host: str
) -> None:
    """Sell QUANTITY of the base coin, or spend QUANTITY of the quote coin, at any rate."""
    paid = sides(setting, name)[side == "buy"]
    atoms = parse_amount(quantity, paid.conversion_factor)
    body = {"market": name, "side": side, "type": "market", "quantity": atoms, "max_matches": max_matches}
    _place(setting, body | {"tag": tag, "host": host})


@order.command("cancel")
@click.argument("order_id")
@pass_setting
def order_cancel(setting: Setting, order_id: str) -> None:
    """Take a standing order off the book, when its epoch closes. ORDER_ID: as the list shows it, or more of it."""
    found = tell(setting, lambda remote: remote.delete(f"/orders/{order_id}", views.OrderView))
    setting.show(found, lambda: _order_table(setting, [found]))


@order.command("list")
@page_options
@pass_setting
def order_list(setting: Setting, /, **query: Any) -> None:
    """Orders, oldest first: every one that is open, and the newest that are over."""
    found = page(setting, "/orders", views.OrderView, query)
    setting.show(found, lambda: _order_table(setting, found))


def _place(setting: Setting, body: dict[str, Any]) -> None:
    found = tell(setting, lambda remote: remote.post("/orders", views.OrderView, body))
    setting.show(found, lambda: _order_table(setting, [found]))


def _order_table(setting: Setting, found: list[views.OrderView]) -> Table:
    columns = ["order", "market", "type", "side", "quantity", "rate", "filled", "status", "placed"]
    return table_by_server(setting, columns, ((row.host, _order_row(setting, row)) for row in found))


def _order_row(setting: Setting, row: views.OrderView) -> list[str]:
    spends = row.type == "market" and row.side == "buy"  # so that its quantity is one of the quote coin
    quantity, filled = (
        traded(setting, row.market, atoms, quote=spends) if row.side else "" for atoms in (row.quantity, row.filled)
    )
    rate, placed = priced(setting, row.market, row.rate), clock_time(row.time)
    return [row.id[:16], row.market, row.type, row.side, quantity, rate, filled, how_it_ended(row), placed]


def how_it_ended(row: views.OrderView) -> str:
    """The status, and of an order that took part in nothing, why."""
    if row.status == "executed" and row.type != "cancel" and not row.filled:
        return "ended: it would have taken" if row.post_only else "ended: nothing matched"
    if row.status == "revoked" and 0 < row.expiry <= SystemClock().now_ms():
        return "expired"
    return row.status


@order.command("several")
@click.argument("file", type=click.File("rb"))
@pass_setting
def order_several(setting: Setting, file: Any) -> None:
    """Place the limit orders of FILE (- for standard input), a JSON list as `POST /orders/several` takes it."""
    try:
        orders = msgspec.json.decode(file.read(), type=list[requests.PlaceOrder])
    except msgspec.DecodeError as error:
        raise OrderError(f"{file.name} is no list of orders: {error}", code="order.file", fix=_SHAPE) from error
    found = tell(setting, lambda remote: remote.post("/orders/several", list[views.Outcome], orders))
    rows = [[row.order.id[:16] if row.order else "", row.code, row.message] for row in found]
    setting.show(found, lambda: table(["order", "refused", "why"], rows))


@order.command("estimate")
@click.argument("name", metavar="MARKET")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("quantity")
@click.argument("rate")
@host_option
@pass_setting
def order_estimate(setting: Setting, name: str, side: str, quantity: str, rate: str, host: str) -> None:
    """What a limit order would lock, and cost at best, at worst, and if it has to be refunded."""
    order = _limit(setting, name, side, quantity, rate, host)
    found = tell(setting, lambda remote: remote.post("/orders/estimate", Estimate, order))
    setting.show(found, lambda: _estimate(setting, found))


def _estimate(setting: Setting, found: Estimate) -> Table:
    def pays(atoms: int) -> str:
        return f"{coins_of(setting, found.pays, atoms)} {found.pays}"

    def gets(atoms: int) -> str:
        return f"{coins_of(setting, found.gets, atoms)} {found.gets}"

    rows = [
        ["locked", pays(found.locked), f"{pays(found.split_locked)} after a split for {pays(found.split_fee)}"],
        ["best", f"gives {pays(found.best.gives)}", f"gets {gets(found.best.gets)}, 1 swap"],
        ["worst", f"gives {pays(found.worst.gives)}", f"gets {gets(found.worst.gets)}, swaps: {found.worst.swaps}"],
        ["refund", f"loses {pays(found.refund)}", "if no counterparty does its part"],
        ["missing", pays(found.missing), ""],
    ]
    return table(["case", "paid coin", "received coin"], rows)


@order.command("max")
@click.argument("name", metavar="MARKET")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("rate")
@host_option
@pass_setting
def order_max(setting: Setting, name: str, side: str, rate: str, host: str) -> None:
    """The largest limit order at RATE that funds and tier allow now."""
    base, quote = sides(setting, name)
    atoms = parse_rate(rate, base.conversion_factor, quote.conversion_factor)
    path = f"/markets/{name}/largest?side={side}&rate={atoms}&host={quoted(host)}"
    found = tell(setting, lambda remote: remote.get(path, MaxOrder))
    row = [amount_text(each, base.conversion_factor) for each in (found.quantity, found.by_funds, found.by_tier)]
    setting.show(found, lambda: table(["largest", "by funds", "by tier"], [row]))


_SHAPE = 'write it like [{"market": "ltc_btc", "side": "sell", "quantity": 100000000, "rate": 250000}]'


@click.group(cls=ExampledGroup, epilog=CONDITION_EXAMPLES)
def condition() -> None:
    """Orders that wait for a price on this machine: stop-limit, one-cancels-other. All but the list need the daemon."""


@condition.command("stop")
@click.argument("name")
@click.argument("market_name", metavar="MARKET")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("quantity")
@click.option("--stop", required=True, help="Once a trade reaches this rate ...")
@click.option("--rate", required=True, help="... place a limit order at this one.")
@click.option("--or-at", default="", help="Meanwhile rest at this rate; one cancels the other.")
@order_options
@host_option
@pass_setting
def condition_stop(
    setting: Setting,
    /,
    name: str,
    market_name: str,
    side: str,
    quantity: str,
    *,
    stop: str,
    rate: str,
    or_at: str,
    host: str,
    **chosen: Any,
) -> None:
    """Wait for a price under the name NAME, which is used once. The order options count for both orders."""
    base, quote = sides(setting, market_name)
    stopping, placing, resting = (
        parse_rate(text, base.conversion_factor, quote.conversion_factor) for text in (stop, rate, or_at or "0")
    )
    atoms = parse_amount(quantity, base.conversion_factor)
    options = OrderChoices(**chosen).members()
    wanted = requests.PlaceCondition(name, market_name, _side(side), atoms, stopping, placing, resting, host, **options)
    found = tell(setting, lambda remote: remote.post("/conditions", views.ConditionView, wanted))
    setting.show(found, lambda: _conditions(setting, [found]))


@condition.command("list")
@page_options
@pass_setting
def condition_list(setting: Setting, /, **query: Any) -> None:
    """Conditions, oldest first: every one that is open, and the newest that are over."""
    found = page(setting, "/conditions", views.ConditionView, query)
    setting.show(found, lambda: _conditions(setting, found))


@condition.command("cancel")
@click.argument("name")
@pass_setting
def condition_cancel(setting: Setting, name: str) -> None:
    """Give a condition up, and cancel the order that rests for it."""
    found = tell(setting, lambda remote: remote.delete(f"/conditions/{name}", views.ConditionView))
    setting.show(found, lambda: _conditions(setting, [found]))


def _conditions(setting: Setting, found: list[views.ConditionView]) -> Table:
    columns = ["name", "market", "side", "quantity", "stop", "rate", "or at", "status", "why"]
    return table_by_server(setting, columns, ((row.host, _condition_row(setting, row)) for row in found))


def _condition_row(setting: Setting, row: views.ConditionView) -> list[str]:
    rates = (priced(setting, row.market, rate) for rate in (row.stop, row.rate, row.rest_rate))
    quantity = traded(setting, row.market, row.quantity)
    return [row.name, row.market, row.side, quantity, *rates, row.status, row.reason]


def _limit(setting: Setting, name: str, side: str, quantity: str, rate: str, host: str) -> requests.PlaceOrder:
    base, quote = sides(setting, name)
    return requests.PlaceOrder(
        market=name,
        side=_side(side),
        quantity=parse_amount(quantity, base.conversion_factor),
        rate=parse_rate(rate, base.conversion_factor, quote.conversion_factor),
        host=host,
    )


def _side(text: str) -> Literal["buy", "sell"]:
    return cast(Literal["buy", "sell"], text)
