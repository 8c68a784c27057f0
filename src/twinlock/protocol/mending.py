"""JSON as Go's decoder understands it, rewritten as a strict decoder does (protocol section 1.4).

Go matches the names of members in any case, the last of several wins, passes over members that it does not know, and
writes an empty list as null. Nothing else is forgiven.

>>> class Coin(msgspec.Struct):
...     id: str = msgspec.field(name="coinid")
...     sigs: list[str]
>>> mend(b'{"CoinID": "00", "more": {}, "sigs": null}', Coin)
b'{"coinid":"00","sigs":[]}'
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, cast

import msgspec
from msgspec import inspect

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_LISTS = (inspect.ListType, inspect.VarTupleType)


def mend(data: bytes, kind: Any) -> bytes:
    """The same JSON under the names that `kind` has; what does not fit is left for the strict decoder to refuse."""
    return _mended(data, _shape(cast(Hashable, kind)))


@cache
def _shape(kind: Hashable) -> inspect.Type:
    return inspect.type_info(kind)


@cache
def _fields(kind: type) -> dict[str, inspect.Field]:
    shape = _shape(kind)
    assert isinstance(shape, inspect.StructType)
    return {field.encode_name.lower(): field for field in shape.fields}


def _mended(data: bytes, shape: inspect.Type) -> bytes:
    data = data.strip()
    if isinstance(shape, inspect.UnionType):
        fitting = [option for option in shape.types if _looks_like(data, option)]
        return _mended(data, fitting[0]) if len(fitting) == 1 else data
    if isinstance(shape, inspect.Metadata):
        return _mended(data, shape.type)
    if not _looks_like(data, shape):
        return b"[]" if data == b"null" and isinstance(shape, _LISTS) else data
    if isinstance(shape, inspect.StructType):
        return _struct(data, shape)
    if isinstance(shape, _LISTS):
        return msgspec.json.encode([msgspec.Raw(_mended(bytes(item), shape.item_type)) for item in _items.decode(data)])
    return data


def _struct(data: bytes, shape: inspect.StructType) -> bytes:
    fields, found = _fields(shape.cls), dict[str, msgspec.Raw]()
    for name, value in _members.decode(data).items():
        field = fields.get(name.lower())
        if field is not None:
            found[field.encode_name] = msgspec.Raw(_mended(bytes(value), field.type))
        elif name == shape.tag_field:
            found[name] = value
    return msgspec.json.encode(found)


def _looks_like(data: bytes, shape: inspect.Type) -> bool:
    """Whether the value is of the kind that is looked into."""
    if isinstance(shape, inspect.StructType):
        return data.startswith(b"{")
    return isinstance(shape, _LISTS) and data.startswith(b"[")
