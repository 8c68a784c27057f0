"""HD keys against the vectors of BIP 32 and BIP 84, the protocol's account keys, and embit."""

from __future__ import annotations

import pytest
from embit import bip32 as oracle
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import dex_vector

from twinlock.chain import base58, bip39, script
from twinlock.chain.address import script_to_address
from twinlock.chain.bip32 import HARDENED, HDKey, bip84_account, parse_path
from twinlock.chain.coins import coin
from twinlock.chain.errors import KeyFormatError
from twinlock.kernels.blake256 import blake256
from twinlock.kernels.ripemd160 import hash160

BTC = coin("btc", "mainnet")

# BIP 32, test vectors 1 to 4: seed, path, public, private.
PUBLISHED = [
    (
        "000102030405060708090a0b0c0d0e0f",
        "m",
        "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8",
        "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
    ),
    (
        "000102030405060708090a0b0c0d0e0f",
        "m/0'/1/2'/2/1000000000",
        "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy",
        "xprvA41z7zogVVwxVSgdKUHDy1SKmdb533PjDz7J6N6mV6uS3ze1ai8FHa8kmHScGpWmj4WggLyQjgPie1rFSruoUihUZREPSL39UNdE3BBDu76",
    ),
    (
        "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4acba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be",
        "m/0'",
        "xpub68NZiKmJWnxxS6aaHmn81bvJeTESw724CRDs6HbuccFQN9Ku14VQrADWgqbhhTHBaohPX4CjNLf9fq9MYo6oDaPPLPxSb7gwQN3ih19Zm4Y",
        "xprv9uPDJpEQgRQfDcW7BkF7eTya6RPxXeJCqCJGHuCJ4GiRVLzkTXBAJMu2qaMWPrS7AANYqdq6vcBcBUdJCVVFceUvJFjaPdGZ2y9WACViL4L",
    ),
    (
        "3ddd5602285899a946114506157c7997e5444528f3003f6134712147db19b678",
        "m/0h/1h",
        "xpub6BJA1jSqiukeaesWfxe6sNK9CCGaujFFSJLomWHprUL9DePQ4JDkM5d88n49sMGJxrhpjazuXYWdMf17C9T5XnxkopaeS7jGk1GyyVziaMt",
        "xprv9xJocDuwtYCMNAo3Zw76WENQeAS6WGXQ55RCy7tDJ8oALr4FWkuVoHJeHVAcAqiZLE7Je3vZJHxspZdFHfnBEjHqU5hG1Jaj32dVoS6XLT1",
    ),
]


@pytest.mark.parametrize(("seed", "path", "public", "private"), PUBLISHED, ids=[row[1] for row in PUBLISHED])
def test_published_keys(seed: str, path: str, public: str, private: str) -> None:
    key = HDKey.from_seed(bytes.fromhex(seed)).derive(path)
    assert key.text(BTC) == private
    assert key.neuter().text(BTC) == public
    assert HDKey.parse(BTC, private) == key
    assert HDKey.parse(BTC, public) == key.neuter()


# BIP 32, test vector 5.
REFUSED = {
    "xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6LBpB85b3D2yc8sfvZU521AAwdZafEz7mnzBBsz4wKY5fTtTQBm": (
        "public version, private key"
    ),
    "xprv9s21ZrQH143K24Mfq5zL5MhWK9hUhhGbd45hLXo2Pq2oqzMMo63oStZzFGTQQD3dC4H2D5GBj7vWvSQaaBv5cxi9gafk7NF3pnBju6dwKvH": (
        "private version, public key"
    ),
    "xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6Txnt3siSujt9RCVYsx4qHZGc62TG4McvMGcAUjeuwZdduYEvFn": (
        "public key with tag 04"
    ),
    "xprv9s21ZrQH143K24Mfq5zL5MhWK9hUhhGbd45hLXo2Pq2oqzMMo63oStZzFGpWnsj83BHtEy5Zt8CcDr1UiRXuWCmTQLxEK9vbz5gPstX92JQ": (
        "private key with tag 04"
    ),
    "xprv9s2SPatNQ9Vc6GTbVMFPFo7jsaZySyzk7L8n2uqKXJen3KUmvQNTuLh3fhZMBoG3G4ZW1N2kZuHEPY53qmbZzCHshoQnNf4GvELZfqTUrcv": (
        "depth 0 with a parent"
    ),
    "xprv9s21ZrQH4r4TsiLvyLXqM9P7k1K3EYhA1kkD6xuquB5i39AU8KF42acDyL3qsDbU9NmZn6MsGSUYZEsuoePmjzsB3eFKSUEh3Gu1N3cqVUN": (
        "depth 0 with an index"
    ),
    "DMwo58pR1QLEFihHiXPVykYB6fJmsTeHvyTp7hRThAtCX8CvYzgPcn8XnmdfHGMQzT7ayAmfo4z3gY5KfbrZWZ6St24UVf2Qgo6oujFktLHdHY4": (
        "unknown version"
    ),
    "xprv9s21ZrQH143K24Mfq5zL5MhWK9hUhhGbd45hLXo2Pq2oqzMMo63oStZzF93Y5wvzdUayhgkkFoicQZcP3y52uPPxFnfoLZB21Teqt1VvEHx": (
        "private key 0"
    ),
    "xprv9s21ZrQH143K24Mfq5zL5MhWK9hUhhGbd45hLXo2Pq2oqzMMo63oStZzFAzHGBP2UuGCqWLTAPLcMtD5SDKr24z3aiUvKr9bJpdrcLg1y3G": (
        "private key n"
    ),
    "xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6Q5JXayek4PRsn35jii4veMimro1xefsM58PgBMrvdYre8QyULY": (
        "public key off the curve"
    ),
    "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHL": (
        "checksum"
    ),
    "": "nothing",
}


@pytest.mark.parametrize("text", REFUSED, ids=REFUSED.values())
def test_extended_keys_that_are_none(text: str) -> None:
    with pytest.raises(KeyFormatError):
        HDKey.parse(BTC, text)


def test_a_key_of_another_network_is_refused() -> None:
    text = HDKey.from_seed(bytes(16)).text(BTC)
    assert text.startswith("xprv")
    with pytest.raises(KeyFormatError):
        HDKey.parse(coin("btc", "testnet"), text)
    assert HDKey.from_seed(bytes(16)).text(coin("btc", "regtest")).startswith("tprv")


def test_first_addresses_of_bip84() -> None:
    phrase = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
    account = HDKey.from_seed(bip39.to_seed(phrase)).derive(bip84_account(BTC))
    expected = {
        (0, 0): "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
        (0, 1): "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g",
        (1, 0): "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el",
    }
    for path, address in expected.items():
        public = account.neuter().derive(path).public
        assert script_to_address(BTC, script.p2wpkh(hash160(public))) == address


@pytest.mark.parametrize("number", [0, 1])
def test_account_keys_of_the_protocol(number: int) -> None:
    vector = dex_vector(f"account-key-{number}")
    path = [int(step, 16) for step in vector["inputs"]["path"]]
    key = HDKey.from_seed(bytes.fromhex(vector["inputs"]["appseed"])).derive(path)
    assert key.secret_key.secret.hex() == vector["expected"]["privkey"]
    assert key.public.hex() == vector["expected"]["pubkey"]
    assert blake256(blake256(key.public)).hex() == vector["expected"]["accountid"]


def test_the_evm_wallets_key() -> None:
    vector = dex_vector("evm-wallet-key")
    appseed, asset_id = bytes.fromhex(vector["inputs"]["appseed"]), vector["inputs"]["assetid"]
    wallet_seed = blake256(appseed + asset_id.to_bytes(4, "big"))
    assert wallet_seed.hex() == vector["expected"]["wallet_seed"]
    phrase = bip39.to_words(wallet_seed)
    assert phrase == vector["expected"]["mnemonic24"]
    key = HDKey.from_seed(bip39.to_seed(phrase)).derive("m/44'/60'/0'/0/0")
    assert key.secret_key.secret.hex() == vector["expected"]["privkey"]


indices = st.integers(0, HARDENED - 1)


@given(st.binary(min_size=16, max_size=64), st.lists(indices, max_size=4), indices)
def test_equal_to_embit_and_public_derivation_agrees(seed: bytes, path: list[int], last: int) -> None:
    ours, theirs = HDKey.from_seed(seed), oracle.HDKey.from_seed(seed)
    hardened = [index | HARDENED for index in path]
    ours, theirs = ours.derive(hardened), theirs.derive(hardened)
    assert ours.text(BTC) == theirs.to_base58()
    assert ours.neuter().child(last).text(BTC) == theirs.to_public().derive([last]).to_base58()
    assert ours.child(last).neuter() == ours.neuter().child(last)


def test_nothing_secret_is_shown() -> None:
    key = HDKey.from_seed(bytes(16))
    for secret in (key.chain_code, key.secret_key.secret):
        assert secret.hex() not in f"{key!r} {key}"
        assert repr(secret) not in f"{key!r} {key}"


def test_what_cannot_be_derived() -> None:
    root = HDKey.from_seed(bytes(16))
    for index in (-1, 1 << 32):
        with pytest.raises(KeyFormatError):
            root.child(index)
    with pytest.raises(KeyFormatError):
        root.neuter().child(HARDENED)
    deepest = HDKey(root.public, root.chain_code, root.private, depth=255)
    with pytest.raises(KeyFormatError):
        deepest.child(0)


@pytest.mark.parametrize("size", [0, 15, 65])
def test_seeds_of_the_wrong_size(size: int) -> None:
    with pytest.raises(KeyFormatError):
        HDKey.from_seed(bytes(size))


@pytest.mark.parametrize(
    "path", ["", "0", "m/", "m//1", "m/-1", "m/2147483648", "m/1'h", "m/x", "m/1.0", "M/1", "m/\u0661", "m/ 1"]
)
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(KeyFormatError):
        parse_path(path)


def test_paths() -> None:
    assert parse_path("m") == []
    assert parse_path("m/84'/2h/0H/1/2147483647") == [84 | HARDENED, 2 | HARDENED, HARDENED, 1, HARDENED - 1]


@given(st.binary(min_size=78, max_size=78))
def test_any_bytes_behind_a_good_checksum_are_a_key_or_refused(raw: bytes) -> None:
    for version in (BTC.bip32_private, BTC.bip32_public):
        try:
            key = HDKey.parse(BTC, base58.encode_check(version.to_bytes(4, "big") + raw[4:]))
        except KeyFormatError:
            continue
        assert HDKey.parse(BTC, key.text(BTC)) == key
