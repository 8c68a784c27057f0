"""Caller: a session as handlers see it: who asks, what may be asked of, and what it costs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from twinlock.indexer.costs import Address
from twinlock.indexer.daemon import NodeCalls
from twinlock.indexer.env import Env
from twinlock.indexer.methods import Version
from twinlock.indexer.shared import Shared
from twinlock.indexer.subscriptions import Subscriptions
from twinlock.indexer.view import View


class Caller(Hashable, Protocol):
    """version: what was negotiated, empty before that. group: the network that it comes from."""

    version: Version
    client_name: str
    group: str
    address: Address | None
    env: Env
    view: View
    daemon: NodeCalls
    shared: Shared
    subscriptions: Subscriptions

    def charge(self, cost: float) -> None:
        """Charge its account. Raises RpcError when it has to go."""
        ...

    def follow_headers(self, wanted: bool) -> bool:
        """Tell it of new blocks, or no more; whether it was told before."""
        ...

    def close_after_reply(self) -> None:
        """End the connection once what was said is sent."""
        ...
