"""The settlement of one match, as facts, transitions and duties shared by both traders and the server.

- `state`: the terms, the two legs and everything known about them
- `events`: what chains show and what peers say
- `transitions`: `apply(swap, event)`, the table of a leg's statuses, and the two rules
- `duties`: `duties(swap, party, now_ms)` and `referee_duties(swap, now_ms)`, the table of who owes what
- `referee`: `judge(swap, now_ms)`, deadlines and faults
- `audit`: is a contract as agreed?

Invariants: a trader who does its duties ends with the counterparty's coin or with its own back, whatever the others
do; nothing but a chain's median time past decides a refund; a maker reveals the secret only while the taker cannot
refund; once both contracts are on chain the server is not needed.

>>> from twinlock.protocol.swap.state import Party, Swap, agree
>>> terms = agree(bytes(32), quantity=10**8, rate=25_000, maker_sells=True, made_ms=1_700_000_000_000,
...     base_depth=1, quote_depth=1)
>>> swap = Swap(terms=terms)
>>> for event in (AddressKnown(Party.MAKER, "ltc1..", 1), AddressKnown(Party.TAKER, "bc1..", 2)):
...     swap = apply(swap, event)
>>> sorted(task.duty.name for task in duties(swap, Party.MAKER, terms.made_ms))
['MAKE_CONTRACT', 'WATCH']
"""

from twinlock.protocol.swap.duties import Duty, Ending, Task, act_by, duties, ending, referee_duties
from twinlock.protocol.swap.events import AddressKnown, Event
from twinlock.protocol.swap.referee import deadline, judge
from twinlock.protocol.swap.state import Leg, LegStatus, MatchStatus, Party, Swap, Terms, Verdict, agree
from twinlock.protocol.swap.transitions import apply

__all__ = [
    "AddressKnown",
    "Duty",
    "Ending",
    "Event",
    "Leg",
    "LegStatus",
    "MatchStatus",
    "Party",
    "Swap",
    "Task",
    "Terms",
    "Verdict",
    "act_by",
    "agree",
    "apply",
    "deadline",
    "duties",
    "ending",
    "judge",
    "referee_duties",
]
