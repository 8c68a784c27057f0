"""The wallet's history as CSV: coins only, no prices. Pure.

>>> from twinlock.chain.coins import coin
>>> print(to_csv(coin("btc", "mainnet"), [Payment("ab" * 32, -5_200, 200, 7, 1_700_000_000, "=rent")]), end="")
time,height,transaction,net BTC,fee BTC,label
2023-11-14T22:13:20Z,7,abababababababababababababababababababababababababababababababab,-0.00005200,0.00000200,'=rent
"""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterable

from twinlock.chain.coins import Coin
from twinlock.client.wallet.types import Payment

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(coin: Coin, payments: Iterable[Payment]) -> str:
    """One line a payment, oldest first; amounts in whole coins, times in UTC, empty in the mempool."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", "height", "transaction", f"net {coin.unit}", f"fee {coin.unit}", "label"])
    for each in payments:
        fee = "" if each.fee is None else _amount(coin, each.fee)
        height = "" if each.height is None else each.height
        writer.writerow([_time(each.time), height, each.txid, _amount(coin, each.net), fee, _harmless(each.label)])
    return out.getvalue()


def _time(seconds: int | None) -> str:
    if seconds is None:
        return ""
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _amount(coin: Coin, atoms: int) -> str:
    whole, part = divmod(abs(atoms), coin.conversion_factor)
    digits = len(str(coin.conversion_factor)) - 1
    return f"{'-' if atoms < 0 else ''}{whole}.{part:0{digits}d}"


def _harmless(label: str) -> str:
    """Spreadsheets run what looks like a formula; labels may come from others."""
    return f"'{label}" if label.startswith(_FORMULA) else label
