"""Accounts and the keys that one application seed gives (protocol sections 4.1 and 4.3).

Everything follows from the seed and public facts, so the seed alone recovers accounts, bonds and wallets.
"""

from __future__ import annotations

from twinlock.chain.bip32 import HDKey
from twinlock.chain.keys import PrivateKey
from twinlock.kernels.blake256 import blake256
from twinlock.protocol.wire import u32

HARDENED = 0x80000000
_DEX = 0x646578
_BOND = 0x626F6E64


def account_id(public_key: bytes) -> bytes:
    """The 32-byte ID of the account with this 33-byte key."""
    return blake256(blake256(public_key))


def account_path(server_key: bytes, index: int) -> list[int]:
    """m / "dex"' / first byte' / eight little-endian words of the rest' / index'.

    server_key: the server's 33-byte compressed key. Each element is reduced modulo 2^31 and then hardened.
    """
    words = [int.from_bytes(server_key[at : at + 4], "little") for at in range(1, 33, 4)]
    return [element % HARDENED + HARDENED for element in (_DEX, server_key[0], *words, index)]


def account_key(seed: bytes, server_key: bytes, index: int = 0) -> PrivateKey:
    """The key of the seed's account number `index` at the server."""
    return _derive(seed, account_path(server_key, index))


def bond_key(seed: bytes, asset_id: int, index: int) -> PrivateKey:
    """The key that a bond's output pays back to; the last element is not hardened."""
    return _derive(seed, [_BOND + HARDENED, asset_id + HARDENED, index])


def wallet_seed(seed: bytes, asset_id: int) -> bytes:
    """The 32-byte seed of the built-in wallet of an asset; tokens use their parent's ID, all EVM chains 60."""
    return blake256(seed + u32(asset_id))


def wallet_password(wallet_seed: bytes) -> bytes:
    """The password that encrypts the built-in wallet's own store."""
    return blake256(wallet_seed)


def _derive(seed: bytes, path: list[int]) -> PrivateKey:
    return HDKey.from_seed(seed).derive(path).secret_key
