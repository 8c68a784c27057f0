"""From the seed to every key of a wallet, along fixed paths.

| path | keys |
|---|---|
| m / 84' / coin' / 0' / 0 / i | receive addresses (BIP 84) |
| m / 84' / coin' / 0' / 1 / i | change, and what comes back from swaps and bonds |
| m / 86' / coin' / 0' / 0 / i | Taproot addresses, to receive only (BIP 86): orders cannot be funded from them |
| m / 0x73776170 / asset' / purpose' / w0' / ... / w7' | one match; w0..w7: its ID as little-endian words mod 2^31 |

A cold wallet adds an account whose keys are elsewhere, known by its descriptor: it receives, it is paid out to, and its
coins move by PSBT only.

>>> from twinlock.chain.coins import coin
>>> phrase = "abandon " * 11 + "about"
>>> WalletKeys.from_phrase(coin("btc", "mainnet"), phrase).address(0, 0)
'bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu'
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, StrEnum

from twinlock.chain import bip39, script, taproot
from twinlock.chain.address import script_to_address
from twinlock.chain.bip32 import HARDENED, HDKey, bip84_account
from twinlock.chain.coins import Coin
from twinlock.chain.descriptor import Descriptor
from twinlock.chain.errors import KeyFormatError
from twinlock.chain.keys import PrivateKey
from twinlock.chain.psbt import Origin
from twinlock.client.wallet.errors import OutsideKeyError
from twinlock.kernels.ripemd160 import hash160

RECEIVE = 0
CHANGE = 1
TAPROOT = 2
COLD_RECEIVE = 3
COLD_CHANGE = 4

KeyPath = tuple[int, int]
"""(branch, index); the branches are the constants above."""


class Use(Enum):
    """What a fresh address is for."""

    RECEIVE = "to be given to others"
    CHANGE = "change that the wallet may have to spend again by itself"
    PAYOUT = "what comes back from swaps and bonds"
    TAPROOT = "to be given to others who want to pay a Taproot address"
    DEPOSIT = "money that is to be traded with"
    OUTSIDE_CHANGE = "change of a transaction that is signed elsewhere"


_HOT = {
    Use.RECEIVE: RECEIVE,
    Use.CHANGE: CHANGE,
    Use.PAYOUT: CHANGE,
    Use.TAPROOT: TAPROOT,
    Use.DEPOSIT: RECEIVE,
    Use.OUTSIDE_CHANGE: CHANGE,
}
_COLD = _HOT | {Use.RECEIVE: COLD_RECEIVE, Use.PAYOUT: COLD_RECEIVE, Use.OUTSIDE_CHANGE: COLD_CHANGE}

_SWAP = 0x73776170
_MATCH_ID = 32


class SwapPurpose(StrEnum):
    """What a match's key is for: to take the counterparty's contract, or to take our own back."""

    REDEEM = "redeem"
    REFUND = "refund"


_PURPOSE_STEP = {SwapPurpose.REDEEM: 0, SwapPurpose.REFUND: 1}


class WalletKeys:
    """The keys of one coin. The repr shows none of them.

    cold: the account whose keys are elsewhere. accounts: whether there are addresses of our own at all; without them
    only swap keys are used.
    """

    def __init__(self, coin: Coin, root: HDKey, cold: Descriptor | None = None, *, accounts: bool = True) -> None:
        self.coin = coin
        self.cold = cold
        paths = {RECEIVE: (*bip84_account(coin), 0), CHANGE: (*bip84_account(coin), 1), TAPROOT: _bip86(coin)}
        self._origins = {branch: Origin(root.fingerprint, tuple(path)) for branch, path in paths.items()}
        self._branches = {branch: root.derive(path) for branch, path in paths.items()}
        self._public = {branch: key.neuter() for branch, key in self._branches.items()}
        self._account = root.derive(bip84_account(coin)).neuter()
        self._swaps = root.derive([_SWAP | HARDENED, coin.asset_id | HARDENED])
        self.branches = (*(self._branches if accounts else ()), *((COLD_RECEIVE, COLD_CHANGE) if cold else ()))
        """Every branch that has addresses."""
        self.uses = _COLD if cold else _HOT
        """The branch for each use."""

    @classmethod
    def from_seed(cls, coin: Coin, seed: bytes, cold: Descriptor | None = None, *, accounts: bool = True) -> WalletKeys:
        """From the master secret of BIP 32, 16 to 64 bytes. Raises KeyFormatError."""
        return cls(coin, HDKey.from_seed(seed), cold, accounts=accounts)

    @classmethod
    def from_phrase(cls, coin: Coin, phrase: str, passphrase: str = "") -> WalletKeys:
        """From 12 to 24 words (BIP 39). Raises KeyFormatError or EncodingError for words that are none."""
        bip39.to_entropy(phrase)
        return cls.from_seed(coin, bip39.to_seed(phrase, passphrase))

    def outside(self, path: KeyPath) -> bool:
        """Is the key of this address elsewhere?"""
        return path[0] in (COLD_RECEIVE, COLD_CHANGE)

    def key(self, path: KeyPath) -> PrivateKey:
        """The private key of an address. Raises OutsideKeyError."""
        if self.outside(path):
            raise OutsideKeyError(
                "the key of this coin is not in this wallet", fix="make a PSBT and sign it where the key is"
            )
        return self._branches[path[0]].child(path[1]).secret_key

    def script(self, path: KeyPath) -> bytes:
        """The output script at a path: P2WPKH, or P2TR on the Taproot branch and as a cold account says."""
        branch, index = path
        if self.cold is not None and self.outside(path):
            return self.cold.script(branch - COLD_RECEIVE, index)
        public = self._public[branch].child(index).public
        return taproot.output_script(public) if branch == TAPROOT else script.p2wpkh(hash160(public))

    def address(self, branch: int, index: int) -> str:
        """The address at a path."""
        return self.address_of(self.script((branch, index)))

    def origin(self, path: KeyPath) -> tuple[bytes, Origin]:
        """The public key (33 bytes) at a path and the way to it, as signers want to know them."""
        branch, index = path
        if self.cold is not None and self.outside(path):
            return self.cold.public(branch - COLD_RECEIVE, index), self.cold.origin_of(branch - COLD_RECEIVE, index)
        above = self._origins[branch]
        return self._public[branch].child(index).public, Origin(above.fingerprint, (*above.path, index))

    def descriptor(self) -> Descriptor:
        """The BIP 84 account for a watch-only wallet elsewhere; the cold account where there is one."""
        above = self._origins[RECEIVE]
        return self.cold or Descriptor("wpkh", self._account, Origin(above.fingerprint, above.path[:-1]))

    def swap_key(self, match_id: bytes, purpose: SwapPurpose) -> PrivateKey:
        """The key of one match; match_id has 32 bytes. Raises KeyFormatError."""
        if len(match_id) != _MATCH_ID:
            raise KeyFormatError("a match ID has 32 bytes", fault="twinlock", numbers={"size": len(match_id)})
        steps = [_PURPOSE_STEP[purpose] | HARDENED, *_words(match_id)]
        return self._swaps.derive(steps).secret_key

    def swap_address(self, match_id: bytes, purpose: SwapPurpose) -> str:
        """The address that stands for that key in a contract."""
        return self.address_of(script.p2wpkh(hash160(self.swap_key(match_id, purpose).public)))

    def address_of(self, output: bytes) -> str:
        """The address of an output script that `script` gave."""
        address = script_to_address(self.coin, output)
        assert address is not None, "light wallets are for coins with segwit"
        return address

    def __repr__(self) -> str:
        return f"WalletKeys({self.coin.symbol} {self.coin.network})"


def _bip86(coin: Coin) -> list[int]:
    return [86 | HARDENED, coin.bip44_coin_type | HARDENED, HARDENED, 0]


def _words(match_id: bytes) -> Iterator[int]:
    for place in range(0, _MATCH_ID, 4):
        yield int.from_bytes(match_id[place : place + 4], "little") % HARDENED | HARDENED
