"""The swap executor: from a match to a completed swap, refereed by `twinlock.protocol.swap`.

* `settling` holds one match: its stored row and the state machine's view of it, always changed together.
* `negotiation` tells both sides of a match and collects their addresses;
* `reports` judges `init` and `redeem` by the chain; `relays` tells the other side;
* `redemptions` stores those that were reported, and looks for those that only the chain shows;
* `executor` begins, watches, fails and resumes; `endings` are its ways out;
* `status` answers what returning clients ask.

Invariants: the server signs no transaction and holds no coin; what a client is told is stored first; a match fails
only by `judge`, and the fault it names is the only one that costs anybody anything; nobody is blamed for the lack of
a redemption that the chain shows.
"""
