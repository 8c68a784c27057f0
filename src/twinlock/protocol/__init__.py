"""The exchange's language: what travels, what is signed, how orders match, and how a swap settles.

Everything here is pure: bytes and values in, bytes and values out. Time, randomness, sockets and disks belong to
the callers, so a server, a client, a replay and a simulator run the same code.

Rooms, from the wire upward:

- `wire`, `envelope`, `codes`, `messages`, `routes`, `limits`: frames, payloads, error codes, who may say what
- `signing`, `account`, `mnemonic`: signatures, account IDs, and the keys that a seed gives
- `orders`, `rates`, `intake`, `epoch`, `book`, `matcher`, `candles`: from an order to a match
- `bonds`, `reputation`, `parcels`: who may trade, and how much
- `swap`: the settlement of a match, one table of transitions for both traders and the referee

Invariants: the signed bytes of a message and the bytes that an order's ID hashes are different things and are never
confused; amounts are integers of atoms; the same inputs give the same bytes on every machine.

>>> from twinlock.protocol.envelope import decode_frame, decode_payload, request
>>> from twinlock.protocol.routes import ORDERBOOK
>>> from twinlock.protocol.messages.book import BookSubscription
>>> frame = decode_frame(request(1, ORDERBOOK.name, BookSubscription(base=2, quote=0)))
>>> decode_payload(frame.payload, ORDERBOOK.payload).base
2
"""
