"""The Bitcoin-like family as the exchange sees it: coin IDs, addresses, contracts, audits, secrets, bonds."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replace_fields
from tests.vectors_for_tests import dex_vector

from twinlock.chain import script
from twinlock.chain.bond import Commitment
from twinlock.chain.coinproof import judge_proof
from twinlock.chain.coins import COINS, Coin, coin
from twinlock.chain.errors import AddressError, BondError, ChainError, CoinIdError, ContractError, MalformedError
from twinlock.chain.families import family_of
from twinlock.chain.family import CoinPoint, Family
from twinlock.chain.keys import PrivateKey
from twinlock.chain.signatures import check_many
from twinlock.chain.tx import MAX_MONEY, Tx, TxIn, TxOut
from twinlock.kernels.ripemd160 import hash160

BTC = family_of(coin("btc", "mainnet"))
LTC = family_of(coin("ltc", "regtest"))
OLD = family_of(replace(coin("btc", "mainnet"), segwit=False))
"""A chain without segwit, as dogecoin would be."""

EACH = pytest.mark.parametrize("family", [BTC, LTC, OLD], ids=["btc", "ltc", "without segwit"])

MAKER, TAKER = PrivateKey(b"\x11" * 32), PrivateKey(b"\x22" * 32)
SECRET = bytes(range(32))
SECRET_HASH = sha256(SECRET).digest()
LOCK_TIME = 1_700_072_000


def contract_of(family: Family) -> bytes:
    return family.make_contract(
        family.address_of(TAKER.public), family.address_of(MAKER.public), SECRET_HASH, LOCK_TIME
    )


def funding(family: Family, contract: bytes, value: int = 5_000_000) -> Tx:
    change = TxOut(7, script.p2wpkh(bytes(20)))
    return Tx(2, (TxIn(b"\x07" * 32, 3),), (change, TxOut(value, family.contract_script(contract))))


# Coin IDs -----------------------------------------------------------------------------------------


def test_the_coin_id_of_the_protocol() -> None:
    vector = dex_vector("utxo-coin-id")
    coin_id = bytes.fromhex(vector["inputs"]["coinid"])
    assert BTC.coin_id_text(coin_id) == vector["expected"]["display"]
    txid, _, index = vector["expected"]["display"].partition(":")
    assert BTC.coin_id(txid, int(index)) == coin_id
    assert BTC.parse_coin_id(coin_id) == CoinPoint(coin_id[:32], 1)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1))
def test_coin_ids_round_trip(tx_hash: bytes, index: int) -> None:
    point = CoinPoint(tx_hash, index)
    assert BTC.parse_coin_id(BTC.coin_id(point.txid, index)) == point


@given(st.binary(max_size=80).filter(lambda data: len(data) != 36))
def test_other_sizes_are_no_coin_id(data: bytes) -> None:
    with pytest.raises(CoinIdError):
        BTC.parse_coin_id(data)


@pytest.mark.parametrize(
    ("txid", "index"),
    [("", 0), ("00" * 31, 0), ("00" * 33, 0), ("zz" * 32, 0), ("00" * 32, -1), ("00" * 32, 1 << 32), (" 00" * 32, 0)],
)
def test_what_makes_no_coin_id(txid: str, index: int) -> None:
    with pytest.raises(CoinIdError):
        BTC.coin_id(txid, index)


# Addresses ----------------------------------------------------------------------------------------


def test_the_address_policy_of_the_protocol() -> None:
    vector = dex_vector("btc-swap-address-policy")
    for family, name in ((BTC, "segwit"), (OLD, "nonsegwit")):
        accepted = []
        for text in vector["inputs"]["addresses"]:
            try:
                accepted.append(family.check_receive_address(text))
            except AddressError:
                continue
        assert accepted == vector["expected"][name]


def test_only_the_canonical_spelling_is_accepted() -> None:
    address = BTC.address_of(MAKER.public)
    assert BTC.check_receive_address(address) == address
    for other in (address.upper(), address + " ", " " + address, address + "\n", address[:-1]):
        with pytest.raises(AddressError):
            BTC.check_receive_address(other)
    with pytest.raises(AddressError) as caught:
        BTC.check_receive_address(address.upper())
    assert caught.value.code == "chain.address.spelling"


def test_an_address_of_another_network_is_refused() -> None:
    for row in COINS.values():
        address = family_of(row).address_of(MAKER.public)
        for other in COINS.values():
            if other.hrp != row.hrp:
                with pytest.raises(AddressError):
                    family_of(other).check_receive_address(address)


# Contracts ----------------------------------------------------------------------------------------


@EACH
def test_a_contract_says_who_gets_what(family: Family) -> None:
    terms = family.parse_contract(contract_of(family))
    assert terms.recipient == family.check_receive_address(family.address_of(TAKER.public))
    assert terms.sender == family.address_of(MAKER.public)
    assert (terms.secret_hash, terms.lock_time) == (SECRET_HASH, LOCK_TIME)


def test_where_a_contract_is_locked() -> None:
    contract = contract_of(BTC)
    assert BTC.contract_script(contract) == b"\x00\x20" + sha256(contract).digest()
    assert OLD.contract_script(contract) == b"\xa9\x14" + hash160(contract) + b"\x87"


def test_parties_must_be_swap_addresses_of_this_network() -> None:
    good = BTC.address_of(MAKER.public)
    for bad in (LTC.address_of(MAKER.public), OLD.address_of(MAKER.public), "", "bc1p" + "q" * 58):
        with pytest.raises(AddressError):
            BTC.make_contract(bad, good, SECRET_HASH, LOCK_TIME)
        with pytest.raises(AddressError):
            BTC.make_contract(good, bad, SECRET_HASH, LOCK_TIME)
    with pytest.raises(ContractError):
        BTC.make_contract(good, good, SECRET_HASH[:31], LOCK_TIME)
    with pytest.raises(ContractError):
        BTC.make_contract(good, good, SECRET_HASH, 1 << 31)


@EACH
def test_an_audit_finds_the_value(family: Family) -> None:
    contract = contract_of(family)
    tx = funding(family, contract)
    audit = family.audit_contract(contract, family.coin_id(tx.txid, 1), tx.serialize())
    assert (audit.value, audit.point) == (5_000_000, CoinPoint(tx.hash, 1))
    assert audit.terms == family.parse_contract(contract)


@EACH
def test_an_audit_refuses_everything_else(family: Family) -> None:
    contract = contract_of(family)
    tx = funding(family, contract)
    raw, coin_id = tx.serialize(), family.coin_id(tx.txid, 1)
    rich = funding(family, contract, MAX_MONEY + 1)
    maker = family.address_of(MAKER.public)
    other = family.make_contract(maker, maker, SECRET_HASH, LOCK_TIME)
    refused = {
        "chain.contract.txid": (contract, family.coin_id("00" * 32, 1), raw),
        "chain.contract.output": (contract, family.coin_id(tx.txid, 2), raw),
        "chain.contract.size": (contract[:-1], coin_id, raw),
        "chain.coin_id": (contract, coin_id[:-1], raw),
        "chain.malformed": (contract, coin_id, raw[:-1]),
        "chain.contract.value": (contract, family.coin_id(rich.txid, 1), rich.serialize()),
    }
    for code, attempt in refused.items():
        with pytest.raises(ChainError) as caught:
            family.audit_contract(*attempt)
        assert caught.value.code == code
    for attempt in ((contract, family.coin_id(tx.txid, 0), raw), (other, coin_id, raw)):
        with pytest.raises(ContractError) as wrong:
            family.audit_contract(*attempt)
        assert wrong.value.code == "chain.contract.output"


# Secrets ------------------------------------------------------------------------------------------


def test_the_secret_in_a_redemption_on_chain() -> None:
    vector = dex_vector("btc-p2sh-redeem-tx")
    raw = bytes.fromhex(vector["inputs"]["tx"])
    secret_hash = bytes.fromhex(vector["expected"]["secrethash"])
    found = BTC.find_secret(raw, BTC.spends(raw, 0), secret_hash)
    assert found == bytes.fromhex(vector["expected"]["secret"])


def test_a_secret_is_found_only_where_the_contract_is_spent() -> None:
    point, other = CoinPoint(b"\x01" * 32, 0), CoinPoint(b"\x01" * 32, 1)
    redeeming = TxIn(point.tx_hash, 0, witness=(b"sig", b"key", SECRET, b"\x01", b"contract"))
    refunding = TxIn(point.tx_hash, 1, witness=(b"sig", b"key", b"", b"contract"))
    raw = Tx(2, (refunding, redeeming), ()).serialize()
    assert BTC.find_secret(raw, point, SECRET_HASH) == SECRET
    assert BTC.find_secret(raw, other, SECRET_HASH) is None
    assert BTC.find_secret(raw, point, bytes(32)) is None
    assert BTC.find_secret(raw, CoinPoint(b"\x02" * 32, 0), SECRET_HASH) is None
    unreadable = Tx(2, (TxIn(point.tx_hash, 0, b"\x4c"),), ()).serialize()
    assert BTC.find_secret(unreadable, point, SECRET_HASH) is None


# Transactions -------------------------------------------------------------------------------------


def test_what_a_transaction_spends() -> None:
    tx = Tx(2, (TxIn(b"\x01" * 32, 5), TxIn(b"\x02" * 32, 0)), (TxOut(600, b""),))
    raw = tx.serialize()
    assert BTC.tx_id(raw) == tx.txid
    assert BTC.inputs(raw) == (CoinPoint(b"\x01" * 32, 5), CoinPoint(b"\x02" * 32, 0))
    assert BTC.spends(raw, 1) == CoinPoint(b"\x02" * 32, 0)
    for index in (-1, 2):
        with pytest.raises(CoinIdError):
            BTC.spends(raw, index)
    assert BTC.fee_rate(raw, 600 + 3 * tx.vsize) == 3
    assert BTC.fee_rate(raw, 600 + 3 * tx.vsize - 1) == 2
    assert BTC.fee_rate(raw, 0) < 0


@given(st.binary(max_size=300))
def test_any_bytes_are_a_transaction_or_refused(raw: bytes) -> None:
    for call in (BTC.tx_id, BTC.inputs, BTC.parse_bond_tx):
        try:
            call(raw)
        except (MalformedError, BondError):
            continue


def test_litecoins_extension_is_read_on_litecoin_only() -> None:
    raw = Tx(2, (TxIn(b"\x01" * 32, 5),), (TxOut(600, b""),), mweb=b"\1peg").serialize()
    assert LTC.inputs(raw) == (CoinPoint(b"\x01" * 32, 5),)
    with pytest.raises(MalformedError):
        BTC.inputs(raw)


# Bonds --------------------------------------------------------------------------------------------

ACCOUNT = b"\xac" * 32


def bond_tx(family: Family, lock_time: int = LOCK_TIME, amount: int = 1_000_000) -> Tx:
    key_hash = family.pubkey_hash(MAKER.public)
    locked = family.make_bond_script(lock_time, key_hash)
    note = Commitment(ACCOUNT, lock_time, key_hash).serialize()
    outputs = (TxOut(amount, family.contract_script(locked)), TxOut(0, note), TxOut(5, b""))
    return Tx(2, (TxIn(b"\x01" * 32, 0),), outputs)


@EACH
@pytest.mark.parametrize("lock_time", [LOCK_TIME, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_a_bond_says_what_it_locks(family: Family, lock_time: int) -> None:
    tx = bond_tx(family, lock_time)
    terms = family.parse_bond_tx(tx.serialize())
    assert (terms.version, terms.account_id, terms.amount, terms.lock_time) == (0, ACCOUNT, 1_000_000, lock_time)
    assert terms.pubkey_hash == hash160(MAKER.public)
    assert terms.point == CoinPoint(tx.hash, 0)
    assert family.contract_script(terms.script) == tx.outputs[0].script


def test_bonds_that_are_none() -> None:
    good = bond_tx(BTC)
    bond, note, change = good.outputs
    key_hash = note.script[-20:]
    other_time = Commitment(ACCOUNT, LOCK_TIME + 1, key_hash).serialize()
    other_key = Commitment(ACCOUNT, LOCK_TIME, bytes(20)).serialize()
    a_height = Commitment(ACCOUNT, 5, key_hash).serialize()
    outputs: list[tuple[TxOut, ...]] = [
        (),
        (bond,),
        (note, bond),
        (bond, change),
        (bond, TxOut(1, note.script)),
        (TxOut(9, change.script), note),
        *((bond, TxOut(0, code)) for code in (other_time, other_key, a_height)),
    ]
    refused = [
        *(replace_fields(good, outputs=wrong) for wrong in outputs),
        replace_fields(good, lock_time=1),
        replace_fields(good, inputs=(TxIn(b"\x01" * 32, 0, b"", 0xFFFFFFFE),)),
        bond_tx(BTC, amount=MAX_MONEY + 1),
        bond_tx(OLD),
    ]
    for tx in refused:
        with pytest.raises(BondError):
            BTC.parse_bond_tx(tx.serialize())


# Proofs and amounts -------------------------------------------------------------------------------


@EACH
def test_a_proof_of_funds(family: Family) -> None:
    coin_id = family.coin_id("11" * 32, 3)
    output = script.p2pkh(hash160(MAKER.public))
    claims = family.coin_proof_claims(output, b"", coin_id, *family.coin_proof(coin_id, [MAKER]))
    judge_proof(claims, check_many(claims))
    with pytest.raises(ChainError):
        family.coin_proof_claims(output, b"", coin_id, *family.coin_proof(coin_id, [TAKER]))
    assert family.input_size(output, b"") == 149


def test_amounts() -> None:
    assert (BTC.redeem_size, BTC.refund_size) == (142, 134)
    assert (OLD.redeem_size, OLD.refund_size) == (325, 292)
    assert (BTC.min_lot(100), OLD.min_lot(100), BTC.min_bond(1), OLD.min_bond(1)) == (47_200, 87_100, 447, 772)
    assert BTC.required_funds(500_000_000, 5, 69, 20) == 500_015_300
    assert BTC.swap_size(69, 2) == 153 + 43


def test_a_family_is_a_value() -> None:
    row: Coin = coin("btc", "mainnet")
    assert family_of(row) == family_of(row)
    assert family_of(row).coin is row
