"""When the disk is gone: what the seed, the servers, the chains and the recovery file bring back.

- `file`: the recovery file, encrypted to a key of the seed
- `mirror`: the store's shadow that keeps the file true: written before a contract can be broadcast
- `restore`: from the file into an empty store
- `bonds`: bonds found on the chain alone
- `loose`: coins in scripts that nothing explains
- `rescue`: all of it, one step after the other, and the report of what was found

What a swap needs, and where it comes from when the store is empty:

| datum | from |
|---|---|
| account key, bond keys, keys and addresses of a match | seed, with the server's key, an index, the match's ID |
| the maker's secret | seed and match ID |
| match ID, lock times, counterparty's address, amounts, fee rates | server (`connect` lists matches), or the file |
| both contracts and their coins | server (`match_status`), or the file |
| own contract that the server was not told of | derived from the above, and its script's history on the chain |
| the secret, for a taker | the maker's redemption on the chain |
| preimages | seed, account and client time; the times are in the file |
| coins that fund an order | the file |

So with the server alive the seed suffices for every contract of a match that still runs. Where the server is gone, or
has revoked the match and lists it no more, it takes the file, since a contract's script names a key of the other
side's that no chain shows before it is spent.

An order that only the server remembers is cancelled, and a match without a contract of ours is left to lapse: another
client with the same seed may be at work on it, and two contracts for one match would give the coins away twice.
"""
