"""An exchange server in memory that speaks the protocol's frames and does as a test says.

It matches with the project's matcher, relays settlement messages, and keeps a log of every request. It is honest
unless a test sets `bend`, a function that may change any payload before it is sent.
"""

from __future__ import annotations

from tests.client.fake_server.entrance import Entrance
from tests.client.fake_server.epochs import Epochs
from tests.client.fake_server.ground import Account, FakeMatch, Peer
from tests.client.fake_server.notes import BOND, BTC, EPOCH_MS, LOT, LTC, MARKET, epoch_note, note_of

__all__ = [
    "BOND",
    "BTC",
    "EPOCH_MS",
    "LOT",
    "LTC",
    "MARKET",
    "Account",
    "FakeMatch",
    "FakeServer",
    "Peer",
    "epoch_note",
    "note_of",
]


class FakeServer(Entrance, Epochs):
    """One market, two chains, as many clients as dial."""
