"""Labels as other wallets read and write them: one JSON object a line (BIP 329). Pure.

>>> [each.label for each in read('{"type": "tx", "ref": "ab", "label": "rent"}')]
['rent']
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from twinlock.client.wallet.errors import WalletError
from twinlock.client.wallet.records import LabelRecord, LockRecord

Frozen = LockRecord

TYPES = ("tx", "addr", "pubkey", "input", "output", "xpub")
MAX_SIZE = 10_000_000
"""Bytes of an import."""


class Label(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. ref: what it is about: a txid, an address, txid:index. spendable: of outputs only."""

    type: str
    ref: str
    label: str | None = None
    spendable: bool | None = None


def read(text: str) -> list[Label]:
    """The labels of a file; types of later versions are left out. Raises WalletError naming the line at fault."""
    if len(text) > MAX_SIZE:
        raise WalletError("the file of labels is too large", code="wallet.labels", numbers={"size": len(text)})
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            label = msgspec.json.decode(line, type=Label)
        except msgspec.DecodeError as error:
            raise WalletError(
                f"line {number} is no label: {error}", code="wallet.labels", fix="export the labels again (BIP 329)"
            ) from error
        if label.type in ("output", "input") and not _is_point(label.ref):
            raise WalletError(f"line {number} names no {label.type}", code="wallet.labels", numbers={"line": number})
        if label.type in TYPES:
            found.append(label)
    return found


def write(records: Iterable[LabelRecord], frozen: Iterable[str]) -> str:
    """The file for labels and coins (txid:index) that are not to be spent."""
    lines = {(each.subject, each.txid): Label(each.subject, each.txid, each.label) for each in records}
    for point in frozen:
        named = lines.get(("output", point), Label("output", point))
        lines["output", point] = msgspec.structs.replace(named, spendable=False)
    return "".join(msgspec.json.encode(line).decode() + "\n" for _, line in sorted(lines.items()))


def _is_point(ref: str) -> bool:
    txid, _, index = ref.rpartition(":")
    hexadecimal = len(txid) == 64 and all(char in "0123456789abcdefABCDEF" for char in txid)
    return hexadecimal and index.isascii() and index.isdigit() and int(index) < 1 << 32
