"""Descriptors against published checksums, embit and BIP 84's and 86's own addresses."""

from __future__ import annotations

import pytest
from embit.descriptor import Descriptor as Oracle
from embit.descriptor.checksum import add_checksum
from hypothesis import given
from hypothesis import strategies as st

from twinlock.chain.address import script_to_address
from twinlock.chain.bip32 import HARDENED, HDKey
from twinlock.chain.bip39 import to_seed
from twinlock.chain.coins import coin
from twinlock.chain.descriptor import Descriptor, checksum
from twinlock.chain.errors import KeyFormatError
from twinlock.chain.psbt import Origin

BTC = coin("btc", "mainnet")
ROOT = HDKey.from_seed(to_seed("abandon " * 11 + "about"))


def account(purpose: int) -> Descriptor:
    path = (purpose | HARDENED, HARDENED, HARDENED)
    kind = "wpkh" if purpose == 84 else "tr"
    return Descriptor(kind, ROOT.derive(path).neuter(), Origin(ROOT.fingerprint, path))


@pytest.mark.parametrize(
    ("purpose", "address"),
    [
        (84, "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"),
        (86, "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"),
    ],
)
def test_text_and_addresses(purpose: int, address: str) -> None:
    own = account(purpose)
    text = own.text(BTC)
    assert text == add_checksum(text.partition("#")[0])
    assert Descriptor.parse(BTC, text) == own
    for branch in (0, 1):
        oracle = Oracle.from_string(own.text(BTC, branch))
        for index in (0, 7):
            assert own.script(branch, index) == oracle.derive(index).script_pubkey().data
    assert script_to_address(BTC, own.script(0, 0)) == address
    assert own.origin_of(1, 7).path == (*own.origin.path, 1, 7)


def test_spellings() -> None:
    own = account(84)
    bare = own.node.text(BTC)
    assert Descriptor.parse(BTC, bare).script(0, 3) == own.script(0, 3)
    for text in (f"wpkh({bare})", f"wpkh({bare}/0/*)", own.text(BTC).partition("#")[0].replace("h", "'", 4)):
        if text.startswith("wpkh"):
            assert Descriptor.parse(BTC, text).node == own.node


@pytest.mark.parametrize(
    "text",
    ["", "wpkh()", "wsh(multi(1,a,b))", "pkh(xpub)", "wpkh([abc]xpub/0/*)", ROOT.text(BTC), f"wpkh({ROOT.text(BTC)})"],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(KeyFormatError):
        Descriptor.parse(BTC, text)


def test_a_wrong_checksum_is_refused() -> None:
    text = account(84).text(BTC)
    with pytest.raises(KeyFormatError):
        Descriptor.parse(BTC, text[:-1] + ("q" if text[-1] != "q" else "p"))


@given(st.text("abcdefgh0123456789()[]/*'", max_size=60))
def test_checksums_equal_embits(body: str) -> None:
    assert f"{body}#{checksum(body)}" == add_checksum(body)
