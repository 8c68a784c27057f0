"""Work that another chain did: a real block's proof holds, and nothing that is bent about it does."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from tests.kernels.test_scan import real_block

from twinlock.chain.auxpow import MAGIC, MergedWork, check_work, is_merged, place, read_header
from twinlock.chain.coins import coin
from twinlock.chain.errors import InclusionError, MalformedError
from twinlock.chain.header import Header
from twinlock.chain.tx import Tx
from twinlock.chain.wire import Reader

DOGE = coin("doge", "mainnet")
NMC = dataclasses.replace(DOGE, auxpow_id=1, proof_of_work="sha256d")
BLOCK = bytes.fromhex(real_block("dogecoin_mainnet_371337")["block"])


def proven() -> tuple[Header, MergedWork]:
    header, work = read_header(DOGE, Reader(BLOCK))
    assert work is not None
    return header, work


def test_a_real_blocks_proof_holds() -> None:
    header, work = proven()
    assert header.hash_hex == real_block("dogecoin_mainnet_371337")["hash"]
    check_work(DOGE, header, work)


def test_blocks_from_before_merged_mining_have_no_proof() -> None:
    block = real_block("namecoin_mainnet_19204")
    reader = Reader(bytes.fromhex(block["block"]))
    header, work = read_header(NMC, reader)
    assert (header.hash_hex, work, reader.pos) == (block["hash"], None, 80)
    assert is_merged(DOGE, proven()[0])
    assert not is_merged(coin("btc", "mainnet"), proven()[0])


def with_script(work: MergedWork, script: bytes) -> dict[str, Any]:
    """The proof with another coinbase, and a parent that contains it: as whoever mines the parent could make it."""
    txin = msgspec.structs.replace(work.coinbase.inputs[0], script=script)
    coinbase = msgspec.structs.replace(work.coinbase, inputs=(txin,))
    parent = msgspec.structs.replace(work.parent, merkle_root=coinbase.hash)
    return {"coinbase": coinbase, "branch": (), "parent": parent}


_, WORK = proven()
SCRIPT = WORK.coinbase.inputs[0].script
AT = SCRIPT.find(MAGIC)
EMPTY = Tx(1, (), ())
BENT: dict[str, tuple[str, dict[str, Any]]] = {
    "another place in the tree": ("auxpow_root", {"chain_index": 1}),
    "another branch of the tree": ("auxpow_root", {"chain_branch": WORK.chain_branch[::-1]}),
    "no coinbase": ("auxpow_coinbase", {"index": 1}),
    "another coinbase": ("root", {"branch": WORK.branch[::-1]}),
    "our own chain's work": ("auxpow_chain", {"parent": msgspec.structs.replace(WORK.parent, version=0x620002)}),
    "too little work": ("auxpow_work", {"parent": msgspec.structs.replace(WORK.parent, nonce=0)}),
    "two trees": ("auxpow_root", with_script(WORK, MAGIC + SCRIPT)),
    "a root that comes late": ("auxpow_root", with_script(WORK, bytes(21) + SCRIPT.replace(MAGIC, b""))),
    "a tree of another size": ("auxpow_place", with_script(WORK, SCRIPT[: AT + 36] + b"\x04" + SCRIPT[AT + 37 :])),
    "a place that is not the chain's": ("auxpow_place", with_script(WORK, SCRIPT[: AT + 40] + b"\x01\0\0\0")),
    "an end before its time": ("auxpow_place", with_script(WORK, SCRIPT[: AT + 40])),
    "no inputs": (
        "auxpow_coinbase",
        {
            "coinbase": Tx(1, (), ()),
            "branch": (),
            "parent": msgspec.structs.replace(WORK.parent, merkle_root=Tx(1, (), ()).hash),
        },
    ),
}


@pytest.mark.parametrize("name", BENT)
def test_a_bent_proof_is_refused(name: str) -> None:
    code, changes = BENT[name]
    header, work = proven()
    with pytest.raises(InclusionError) as refused:
        check_work(DOGE, header, msgspec.structs.replace(work, **changes))
    assert refused.value.code == f"chain.inclusion.{code}"


def test_a_proof_is_of_one_header_of_one_chain() -> None:
    header, work = proven()
    for other in (
        msgspec.structs.replace(header, time=header.time + 1),
        msgspec.structs.replace(header, version=0x101),
    ):
        with pytest.raises(InclusionError):
            check_work(DOGE, other, work)
    with pytest.raises(InclusionError):
        check_work(dataclasses.replace(DOGE, auxpow_id=1), header, work)


@pytest.mark.parametrize("size", [79, 80, 200, 534])
def test_a_proof_that_was_cut_off_is_none(size: int) -> None:
    with pytest.raises(MalformedError):
        read_header(DOGE, Reader(BLOCK[:size]))


def test_a_chain_has_one_place_in_every_tree() -> None:
    assert [place(5, 98, height) for height in range(4)] == [place(5, 98, 10) % 2**height for height in range(4)]
