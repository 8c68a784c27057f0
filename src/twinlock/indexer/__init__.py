"""The Electrum server: lets light wallets see one chain through any node of that chain.

A block's way: `daemon` → `prefetcher` → `block_processor` (one pass of the scan kernel) → `storage` → news to
`sessions`. A wallet's question: `session` → `methods` (the table) → `handlers` → `view` (chain and mempool as one
picture). `controller` builds and drives all of it, from the settings in `env`; `local_rpc` is the operator's door.

Invariants:
- every answer describes one state of chain and mempool: both change together, between answers, never in one;
- an index row names its script by the first 11 bytes of sha256(script); amounts are integer atoms;
- what cannot be answered is an error, never an empty answer;
- the header of a block goes out before anything that mentions its height.
"""
