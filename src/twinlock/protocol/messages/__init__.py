"""One struct per payload, with the exact member names of the wire.

Python names are this project's; the JSON name stands beside a field wherever it differs. Every signed message
has `signed_bytes()`: the byte string that its sender signs and that its receiver acknowledges. Which route carries
which struct, in which direction, is the table in `twinlock.protocol.routes`.

Invariants: structs are frozen; integers are integers within their width; binary members are `Hex`; a struct that
decoded is well-formed, but nothing is said about its truth: that is the caller's to check.
"""
