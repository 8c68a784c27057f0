"""Setting an exchange up and looking it over, before and beside its run.

`wizard` turns an operator's answers into the configuration and the systemd unit; `doctor` checks what the exchange
needs from its machine, its database and the indexers. Neither is needed by a running server.

Invariants: nothing that exists is overwritten; nothing is written before everything is known to be writable; secrets
are written for their owner alone, and never shown.
"""
