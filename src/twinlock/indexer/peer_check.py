"""How another server is looked at before wallets are told of it: is it on our chain, and does it say who it is?"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from twinlock.electrum.connection import Connection
from twinlock.electrum.methods import Method, version_text
from twinlock.electrum.transport import Transport
from twinlock.errors import Fault, TwinlockError
from twinlock.indexer.peer import Peer, Ports
from twinlock.indexer.storage.seam import Index
from twinlock.seams import Clock

_APART = 5
_BELOW = 10
_LEARNED = 25
"""Servers that are taken from one server's list."""


class BadPeerError(TwinlockError):
    """The server is not what a server of our chain should be."""

    code = "indexer.peer"
    fault: Fault = "peer"


class _Tip(msgspec.Struct):
    height: int


class _Features(msgspec.Struct):
    hosts: dict[str, Any] = {}


def _method(name: str, shape: Any) -> Method[Any]:
    return Method(name, msgspec.json.Decoder(shape))


# Headers with another chain's proof of work are longer than wallets' tables of methods have them.
_HEADERS = _method("blockchain.headers.subscribe", _Tip)
_HEADER = _method("blockchain.block.header", str)
_FEATURES = _method("server.features", _Features)
_PEERS = _method("server.peers.subscribe", list[Any])
_ADD_PEER = _method("server.add_peer", Any)


class Report(NamedTuple):
    """What a server that is well told: itself as it says, and the servers that it knows."""

    itself: Peer
    others: list[Peer]


async def verify(
    peer: Peer, transport: Transport, clock: Clock, index: Index, ours: dict[str, Any], usual: Ports
) -> Report:
    """Look at a server; announce `ours` (our features; empty: nothing) where it does not know us yet.

    Raises BadPeerError when it is no server of our chain, ElectrumError when it could not be looked at.
    """
    genesis = index.block_hash(0)[::-1].hex()
    connection = await Connection.open(transport, clock, genesis_hash=genesis, on_note=lambda _: None)
    try:
        await _check_chain(connection, index)
        itself = await _itself(connection, peer)
        rows = await connection.call(_PEERS)
        told = [other for row in rows[:1000] if (other := Peer.from_row(row, f"told by {peer.host}", usual))]
        if ours and not {other.host for other in told} & set(ours["hosts"]):
            await connection.call(_ADD_PEER, ours)
        return Report(itself, told[:_LEARNED])
    finally:
        await connection.close()


async def _check_chain(connection: Connection, index: Index) -> None:
    tip = await connection.call(_HEADERS)
    if abs(tip.height - index.height) > _APART:
        raise BadPeerError(f"its tip is at {tip.height}, ours at {index.height}")
    height = max(0, min(tip.height, index.height) - _BELOW)
    if await connection.call(_HEADER, height) != index.header(height).hex():
        raise BadPeerError(f"its block at height {height} is another one")


async def _itself(connection: Connection, peer: Peer) -> Peer:
    """The peer as it describes itself."""
    features = msgspec.to_builtins(await connection.call(_FEATURES))
    for itself in Peer.from_features(features, peer.source):
        if itself.host == peer.host:
            itself.software = connection.software[:100]
            itself.version = version_text(connection.version)
            return itself
    raise BadPeerError("it does not say that this host is its own")
