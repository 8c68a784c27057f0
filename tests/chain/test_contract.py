"""The swap contract byte by byte."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vectors_for_tests import dex_vector

from twinlock.chain import script
from twinlock.chain.contract import CONTRACT_SIZE, MAX_LOCK_TIME, MIN_LOCK_TIME, SwapContract, is_secret
from twinlock.chain.errors import ContractError
from twinlock.chain.tx import Tx

DECRED_SHA256 = 0xC0

hashes20 = st.binary(min_size=20, max_size=20)
contracts = st.builds(
    SwapContract,
    st.binary(min_size=32, max_size=32),
    hashes20,
    hashes20,
    st.integers(MIN_LOCK_TIME, MAX_LOCK_TIME),
)


@pytest.mark.parametrize(
    ("name", "opcode"), [("btc-contract-p2wsh", script.Op.SHA256), ("dcr-contract-p2sh", DECRED_SHA256)]
)
def test_contracts_of_the_protocol(name: str, opcode: int) -> None:
    inputs, expected = dex_vector(name)["inputs"], dex_vector(name)["expected"]
    terms = SwapContract(
        bytes.fromhex(inputs["secrethash"]),
        bytes.fromhex(inputs["recipient_pkh"]),
        bytes.fromhex(inputs["sender_pkh"]),
        inputs["locktime"],
    )
    assert terms.serialize(opcode).hex() == expected["contract"]
    assert SwapContract.parse(bytes.fromhex(expected["contract"]), opcode) == terms


def test_a_contract_of_another_family_is_refused() -> None:
    contract = bytes.fromhex(dex_vector("dcr-contract-p2sh")["expected"]["contract"])
    with pytest.raises(ContractError):
        SwapContract.parse(contract)


def test_the_contract_in_a_redemption_on_chain() -> None:
    vector = dex_vector("btc-p2sh-redeem-tx")
    pushed = script.pushes(Tx.parse(bytes.fromhex(vector["inputs"]["tx"])).inputs[0].script)
    secret, branch, contract = pushed[2:]
    assert secret.hex() == vector["expected"]["secret"]
    assert branch == b"\1"
    terms = SwapContract.parse(contract)
    assert terms.secret_hash.hex() == vector["expected"]["secrethash"]
    assert is_secret(secret, terms.secret_hash)


@pytest.mark.parametrize("name", ["dcr-redeem-sigscript", "dcr-refund-sigscript"])
def test_decreds_signature_scripts_carry_the_same_layout(name: str) -> None:
    vector = dex_vector(name)
    pushed = script.pushes(bytes.fromhex(vector["inputs"]["sigscript"]))
    assert pushed[-1].hex() == vector["expected"]["contract"]
    SwapContract.parse(pushed[-1], DECRED_SHA256)
    assert (pushed[-2] == b"") == name.startswith("dcr-refund")


def test_the_secret_of_the_protocols_example() -> None:
    inputs = dex_vector("btc-contract-p2wsh")["inputs"]
    secret, secret_hash = bytes.fromhex(inputs["secret"]), bytes.fromhex(inputs["secrethash"])
    assert is_secret(secret, secret_hash)
    assert not is_secret(secret[::-1], secret_hash)
    for size in (0, 31, 33, 64):
        assert not is_secret(bytes(size), sha256(bytes(size)).digest())


@given(contracts)
def test_round_trip(terms: SwapContract) -> None:
    contract = terms.serialize()
    assert len(contract) == CONTRACT_SIZE
    assert SwapContract.parse(contract) == terms


VARIABLE = {*range(7, 39), *range(43, 63), *range(65, 69), *range(74, 94)}


@given(contracts, st.integers(0, CONTRACT_SIZE - 1), st.integers(1, 255))
def test_every_other_byte_is_constant(terms: SwapContract, at: int, change: int) -> None:
    contract = bytearray(terms.serialize())
    contract[at] ^= change
    if at in VARIABLE:
        try:
            assert SwapContract.parse(bytes(contract)) != terms
        except ContractError as error:
            assert error.code == "chain.contract.lock_time"
    else:
        with pytest.raises(ContractError):
            SwapContract.parse(bytes(contract))


@given(st.binary(max_size=120))
def test_any_bytes_are_a_contract_or_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        SwapContract.parse(data)


@pytest.mark.parametrize("size", [0, 96, 98])
def test_other_sizes_are_refused(size: int) -> None:
    contract = SwapContract(bytes(32), bytes(20), bytes(20), MIN_LOCK_TIME).serialize() + b"\xac"
    with pytest.raises(ContractError) as caught:
        SwapContract.parse(contract[:size])
    assert caught.value.code == "chain.contract.size"


@pytest.mark.parametrize("lock_time", [-1, 0, MIN_LOCK_TIME - 1, MAX_LOCK_TIME + 1, 1 << 32])
def test_lock_times_that_could_never_pass_are_refused(lock_time: int) -> None:
    with pytest.raises(ContractError):
        SwapContract(bytes(32), bytes(20), bytes(20), lock_time).serialize()


@pytest.mark.parametrize("raw", ["00000080", "ffffffff", "ff64cd1d", "01000000"])
def test_four_bytes_that_are_no_time_are_refused(raw: str) -> None:
    # From 2^31 on the chain would read a negative number, below 500,000,000 a height.
    contract = bytearray(SwapContract(bytes(32), bytes(20), bytes(20), MIN_LOCK_TIME).serialize())
    contract[65:69] = bytes.fromhex(raw)
    with pytest.raises(ContractError) as caught:
        SwapContract.parse(bytes(contract))
    assert caught.value.code == "chain.contract.lock_time"


@pytest.mark.parametrize(("hash_size", "recipient", "sender"), [(31, 20, 20), (32, 19, 20), (32, 20, 21)])
def test_hashes_of_the_wrong_size_are_refused(hash_size: int, recipient: int, sender: int) -> None:
    with pytest.raises(ContractError):
        SwapContract(bytes(hash_size), bytes(recipient), bytes(sender), MIN_LOCK_TIME).serialize()
