"""The daemon's local interface: HTTP with JSON, a WebSocket of events, keys with scopes, the loopback device only.

`endpoints` holds the table of operations, `openapi` describes it, `app` guards it, `views` are the shapes, `serve` the
socket and the file `control.json` in which local programs find the address and the owner's token.

Invariants: nothing is answered without the token or a key; a key does what its scopes say; coins leave the wallets
only where the configuration allows it; an order placed twice under one tag exists once.
"""
