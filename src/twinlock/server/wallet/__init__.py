"""The dex wallet: where the operator is paid, from an extended public key alone.

The server holds no coin and no key but the one it signs messages with. Swaps never touch this wallet; it only names
addresses for what the operator sells, such as prepaid bonds.

>>> from twinlock.chain.coins import coin
>>> from twinlock.chain.bip32 import HDKey
>>> btc = coin("btc", "regtest")
>>> public = HDKey.from_seed(bytes(32)).neuter().text(btc)
>>> DexWallet(btc, public).address(0)
'bcrt1qltfy6gm2zyw2tdvr32u9mvkyhk4t0sa7e4r3zc'
"""

from __future__ import annotations

from twinlock.chain.bip32 import HDKey
from twinlock.chain.coins import Coin
from twinlock.chain.errors import ChainError
from twinlock.chain.families import family_of
from twinlock.server.errors import ConfigError

__all__ = ["DexWallet"]

_EXTERNAL = 0


class DexWallet:
    """Receiving addresses of one asset.

    xpub: an account's extended public key; address i is child 0/i of it. Raises ConfigError for any other text,
    and for a private key, which has no business on a server.
    """

    def __init__(self, coin: Coin, xpub: str) -> None:
        try:
            key = HDKey.parse(coin, xpub)
        except ChainError as error:
            raise ConfigError(f"bond_xpub of {coin.symbol}: {error}", fix="export the account's public key") from error
        if key.private is not None:
            raise ConfigError(f"bond_xpub of {coin.symbol} is a private key", fix="export the public key instead")
        self._chain = key.child(_EXTERNAL)
        self._family = family_of(coin)

    def address(self, index: int) -> str:
        """The canonical address number `index`."""
        return self._family.address_of(self._chain.child(index).public)
