"""A blockchain as data: coins, transactions, scripts, addresses, keys, headers, proofs, contracts, bonds.

Everything here is pure: bytes and values in, bytes and values out. Every parser bounds what it reads
and raises a subclass of `ChainError` (fault and stable code inside) for whatever is not exactly right.

Hashes are bytes in internal order; text is display order (reversed hex). Amounts are atoms, lock
times seconds, sizes vbytes. What the exchange needs goes through `twinlock.chain.family`, the seam
behind which families of chains differ.

>>> from twinlock.chain.coins import coin
>>> from twinlock.chain.families import family_of
>>> ltc = family_of(coin("ltc", "mainnet"))
>>> ltc.min_lot(max_fee_rate=20), ltc.redeem_size
(9440, 142)
"""
