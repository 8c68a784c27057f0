"""The user manager: who is there, what they bonded, and how they behaved.

* `accounts` keeps every account that is active in memory, with its bonds and outcomes.
* `login` answers `connect`; `bonds` answers `prevalidatebond` and `postbond` and lets bonds expire;
* `reputation` stores outcomes and tells the account what they changed.

Invariants: an account exists from its first accepted bond; an outcome is stored in the same transaction as what
caused it, and takes effect after the commit; a tier below 1 takes an account's orders off every book.
"""
