"""A swap proven to anybody, off line: one document with all that a match led to, and a verifier that believes nobody.

- `document`: what the file holds
- `verify`: what must hold for it to be a proof, step by step; pure

What a verified proof shows: the holder of the account placed that order; the server, known by its key, matched it on
these terms and relayed these contracts; the contracts are as agreed, share one secret hash, and were funded and spent
by these transactions; each transaction is in a block, with that much work in and on top of it. What no file can show
is that those blocks are on the best chain: their hashes are there to be looked up.
"""

from twinlock.protocol.proof.document import Proof, ProofError
from twinlock.protocol.proof.verify import Statement, verify

__all__ = ["Proof", "ProofError", "Statement", "verify"]
