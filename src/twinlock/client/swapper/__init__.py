"""The swap executor: takes every match to its end, whatever crashes, stays silent or disappears.

What is known of a match is a value of `twinlock.protocol.swap`; messages and chains only add facts to it
(`negotiation`, `observe`), and what is to be done follows from the facts alone (`actions`, `executor`). A restart
therefore needs nothing but the stored record.

Invariants
- Signed, stored, broadcast, in that order; a repetition sends the same bytes.
- Once both contracts are on chain, the server is not needed for anything.
- A message of the server can add a claim, never undo what a chain has shown.
"""

from twinlock.client.swapper.executor import Swapper
from twinlock.client.swapper.matches import Matches

__all__ = ["Matches", "Swapper"]
