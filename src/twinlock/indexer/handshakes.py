"""WebSockets' TLS handshakes: so many at once, as each takes some fifty kilobytes before anybody is known to be there.

Nobody is counted as a session before its handshake is over, and silence costs nothing: without a limit, connections
that say nothing would take all memory. The library opens the door, so all that can be done is to hang up on who comes
when the room is full; `Door` does better.
"""

from __future__ import annotations

import ssl
from weakref import WeakSet

MOST = 50


def limit_handshakes(context: ssl.SSLContext, most: int = MOST) -> None:
    """Let no more handshakes than that be under way in a server's context; who comes then is hung up on."""
    begun: WeakSet[ssl.SSLObject] = WeakSet()

    class Limited(ssl.SSLObject):
        def __new__(cls) -> Limited:
            made = super().__new__(cls)
            made.welcome = len(begun) < most
            if made.welcome:
                begun.add(made)
            return made

        welcome: bool

        def do_handshake(self) -> None:
            if not self.welcome:
                raise ssl.SSLError("too many handshakes are under way")
            super().do_handshake()
            begun.discard(self)

    context.sslobject_class = Limited
