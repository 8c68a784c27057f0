"""The HTTP API: status and market data on the same port as the WebSocket (protocol section 1.6).

GET only; orders are placed over WebSocket alone. Bodies are JSON with a final newline, encoded from typed structs.

* `operations` is the table of what can be asked; `api` makes routes of it, `openapi` the document that describes them.
* `shapes` is what listing sites and programs get, `market_data` where it comes from.
* `feed` is the market feed over a WebSocket, `feed_messages` its language, `asyncapi` the document.

Invariant: what a document promises and what the server sends come from the same types, so they cannot part.
"""
