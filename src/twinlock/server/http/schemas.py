"""JSON schemas of the types that travel.

msgspec makes them; it cannot describe defaults that only our own encoder knows, so every type is first rebuilt with
its `Hex` members as the text that they are in JSON.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import cache, reduce
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from twinlock.protocol.wire import Hex

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_HexText = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})*$", description="bytes, in hexadecimal")]


def schemas_of(types: Iterable[Any]) -> tuple[list[Json], Json]:
    """The schema of each type, and the components that they refer to."""
    found, components = msgspec.json.schema_components([_told(kind) for kind in types], ref_template=_REF)
    return list(found), components


def _told(kind: Any) -> Any:
    """The type as JSON tells it."""
    if kind is Hex:
        return _HexText
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is None or (origin is Annotated and inner[0] is not Hex):
        return kind
    if origin in (Union, UnionType):
        return reduce(operator.or_, (_told(option) for option in inner if option is not msgspec.UnsetType))
    if origin is tuple and Ellipsis not in inner:
        return _row(inner)
    if origin in (list, dict, tuple):
        return origin[tuple(_told(part) if part is not Ellipsis else part for part in inner)]
    return kind


def _row(parts: tuple[Any, ...]) -> Any:
    """A tuple as an array of so many items of one type; few tools understand items by their position."""
    plain = {get_args(part)[0] if get_origin(part) is Annotated else part for part in parts}
    assert len(plain) == 1, "rows hold values of one type"
    item = parts[0] if len(set(parts)) == 1 else plain.pop()
    return Annotated[GenericAlias(list, (_told(item),)), msgspec.Meta(min_length=len(parts), max_length=len(parts))]


@cache
def _struct(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    members = [
        (member.name, _told(member.type), msgspec.field(name=member.encode_name, **_default(member)))
        for member in msgspec.structs.fields(kind)
    ]
    config = kind.__struct_config__
    told = msgspec.defstruct(
        kind.__name__, members, kw_only=True, tag=config.tag, tag_field=config.tag_field, module=kind.__module__
    )
    told.__doc__ = kind.__doc__
    return told


def _default(member: msgspec.structs.FieldInfo) -> Json:
    if member.default_factory is not msgspec.NODEFAULT:
        return {"default_factory": member.default_factory}
    if member.default is msgspec.NODEFAULT:
        return {}
    if isinstance(member.default, Hex):
        return {"default": member.default.hex()}
    # An unset member is left out: in the schema it is one that need not be there.
    return {"default": None if member.default is msgspec.UNSET else member.default}
