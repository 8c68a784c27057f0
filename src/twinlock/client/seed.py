"""The seed that everything follows from: words (BIP 39) and an optional passphrase, kept encrypted in the store.

The passphrase is no password of ours: other words of the same phrase open another wallet, and no passphrase is wrong
by itself. So it is kept beside the words, and whoever restores a seed is told when nothing belongs to it.
"""

from __future__ import annotations

import msgspec

from twinlock.chain import bip39
from twinlock.client.errors import ClientError
from twinlock.client.store import Store
from twinlock.client.store.records import MetaRecord
from twinlock.seams import Entropy

WORDS, PASSPHRASE = "words", "passphrase"
"""Names of what is stored."""

LENGTHS = (12, 24)
"""How many words a new phrase may have; of those that are restored, BIP 39 allows 15, 18 and 21 too."""


class Phrase(msgspec.Struct, frozen=True):
    """words: in lower case, single spaces between them. The repr shows neither."""

    words: str
    passphrase: str = ""

    def master(self) -> bytes:
        """The master secret of BIP 32: 64 bytes."""
        return bip39.to_seed(self.words, self.passphrase)

    def __repr__(self) -> str:
        return f"Phrase({len(self.words.split())} words)"


def fresh(entropy: Entropy, length: int = 12, passphrase: str = "") -> Phrase:
    """New words. length: how many. Raises KeyFormatError for a number that BIP 39 does not allow."""
    return Phrase(bip39.to_words(entropy.token(length * 4 // 3)), passphrase)


def phrase(text: str, passphrase: str = "") -> Phrase:
    """The words that somebody wrote down, however spaced and spelt large. Raises KeyFormatError."""
    words = " ".join(text.lower().split())
    bip39.to_entropy(words)
    return Phrase(words, passphrase)


def stored(store: Store) -> Phrase | None:
    """None in a store without a seed."""
    words, passphrase = store.get(MetaRecord, WORDS), store.get(MetaRecord, PASSPHRASE)
    if words is None:
        return None
    return Phrase(words.value.decode(), passphrase.value.decode() if passphrase else "")


def required(store: Store) -> Phrase:
    """Raises ClientError in a store without a seed."""
    found = stored(store)
    if found is None:
        raise ClientError("there is no seed yet", code="client.no_seed", fix="run `twinlock client init`")
    return found


def keep(store: Store, wanted: Phrase) -> None:
    """Store it, once. Raises ClientError for another one than the store's."""
    before = stored(store)
    if before == wanted:
        return
    if before is not None:
        raise ClientError(
            "the store belongs to another seed, or to another passphrase",
            code="client.exists",
            fix="choose another data_dir",
        )
    with store.transaction():
        store.put(MetaRecord(name=WORDS, value=wanted.words.encode()))
        if wanted.passphrase:
            store.put(MetaRecord(name=PASSPHRASE, value=wanted.passphrase.encode()))
