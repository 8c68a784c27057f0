"""What the seed gives beside the coins' own keys: account and bond keys, preimages, swap secrets.

Preimages and secrets follow from the seed and public facts (an order's account and time, a match's ID), so an
empty disk loses none of them. Each is a HMAC-SHA256 under its own key, hence unpredictable and never shared
between uses. An order's time is part of its ID, and two orders of one account never have the same.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from twinlock.chain.keys import PrivateKey
from twinlock.protocol import account
from twinlock.protocol.wire import u64


class TraderKeys:
    """The seed is the master secret of BIP 32: 18 to 64 bytes. The repr shows nothing of it."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._preimage_key = _subkey(seed, b"twinlock preimages")
        self._secret_key = _subkey(seed, b"twinlock swap secrets")
        self._recovery_key = _subkey(seed, b"twinlock recovery file")

    def account_key(self, server_pubkey: bytes, index: int) -> PrivateKey:
        """The key of our account number `index` at the server (protocol section 4.3)."""
        return account.account_key(self._seed, server_pubkey, index)

    def bond_key(self, asset_id: int, index: int) -> PrivateKey:
        """The key that takes bond number `index` of the asset back."""
        return account.bond_key(self._seed, asset_id, index)

    def preimage(self, account_id: bytes, client_time: int) -> bytes:
        """32 bytes for the order that the account made at `client_time` (ms)."""
        return hmac.digest(self._preimage_key, account_id + u64(client_time), sha256)

    def swap_secret(self, match_id: bytes) -> bytes:
        """The maker's 32-byte secret of a match."""
        return hmac.digest(self._secret_key, match_id, sha256)

    def recovery_key(self) -> bytes:
        """The 32-byte key that recovery files are encrypted with."""
        return self._recovery_key


def _subkey(seed: bytes, purpose: bytes) -> bytes:
    return hmac.digest(seed, purpose, sha256)
