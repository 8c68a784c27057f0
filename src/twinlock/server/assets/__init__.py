"""Asset backends: what the exchange needs to see of each chain, through the Electrum protocol.

Everything above this package speaks of assets through `AssetBackend`: coins, contracts and transactions are opaque
bytes, amounts atoms. `ChainBackend` serves every family that has scripts, on a `ChainSource` (in production
`twinlock.electrum.view.ChainView`). A family without scripts brings its own backend through `BACKENDS`.

Invariants: a backend never holds a key and never signs; every answer comes from the chain or is an error; a coin
that is not found is `CoinNotFoundError`, which the caller may try again.
"""

from twinlock.server.assets.backend import (
    AssetBackend,
    AssetTerms,
    BondCoin,
    CoinNotFoundError,
    FundingCoin,
    SwapCoin,
)

__all__ = ["AssetBackend", "AssetTerms", "BondCoin", "CoinNotFoundError", "FundingCoin", "SwapCoin"]
