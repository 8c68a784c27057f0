"""Only what a block really holds is believed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.vectors_for_tests import electrum_vectors

from twinlock.chain.header import Header
from twinlock.electrum.errors import LyingServerError
from twinlock.electrum.methods import HistoryItem, MerkleReply
from twinlock.electrum.proofs import check_history, check_inclusion, parse_transaction
from twinlock.electrum.states import status_hash
from twinlock.kernels.sha256d import sha256d


def header_with(root: str) -> Header:
    return Header(1, bytes(32), bytes.fromhex(root)[::-1], 0, 0x207FFFFF, 0)


def history(*entries: tuple[int, int]) -> list[HistoryItem]:
    return [HistoryItem(f"{txid:064x}", height) for txid, height in entries]


def proofs() -> list[tuple[str, str, Any]]:
    block = electrum_vectors("merkle")["block_951658"]
    return [(block["merkle_root"], proof["tx_hash"], proof) for proof in block["proofs"]]


@pytest.mark.parametrize(("root", "txid", "proof"), proofs())
def test_proofs_of_a_real_block_hold_and_bent_ones_do_not(root: str, txid: str, proof: Any) -> None:
    header = header_with(root)
    good = MerkleReply(951658, proof["merkle"], proof["tx_pos"])
    check_inclusion(txid, good, header, 951658)
    bent = [
        (MerkleReply(951658, proof["merkle"], proof["tx_pos"] ^ 1), 951658),
        (MerkleReply(951658, proof["merkle"][:-1], proof["tx_pos"] & 0xFF), 951658),
        (MerkleReply(951658, proof["merkle"][::-1], proof["tx_pos"]), 951658),
        (MerkleReply(951658, proof["merkle"], proof["tx_pos"] + (1 << len(proof["merkle"]))), 951658),
        (good, 951657),
    ]
    for reply, height in bent:
        with pytest.raises(LyingServerError) as lie:
            check_inclusion(txid, reply, header, height)
        assert lie.value.what == "merkle"
    with pytest.raises(LyingServerError):
        check_inclusion("00" * 32, good, header, 951658)


def test_the_known_forgeries_are_seen_through() -> None:
    guards = electrum_vectors("spv_guards")
    fine, repeated = guards["right_sibling_duplicate"], guards["left_sibling_duplicate"]
    header = header_with(fine["root"])
    check_inclusion(fine["txid"], MerkleReply(1, fine["merkle"], fine["pos"]), header, 1)
    with pytest.raises(LyingServerError):
        check_inclusion(repeated["txid"], MerkleReply(1, repeated["merkle"], repeated["pos"]), header, 1)

    # A transaction of 64 bytes, shown as an inner node: its right half would pass as a transaction of the block.
    inner = guards["sixty_four_byte_tx"]
    raw = bytes.fromhex(inner["raw"])
    left, right = raw[:32][::-1].hex(), raw[32:][::-1].hex()
    with pytest.raises(LyingServerError):
        check_inclusion(right, MerkleReply(1, [left], 1), header_with(inner["txid"]), 1)


@pytest.mark.parametrize("vector", electrum_vectors("status"), ids=lambda vector: vector["name"])
def test_status_hashes_are_those_of_the_reference(vector: Any) -> None:
    generated: list[Any] = [[sha256d(i.to_bytes(4, "little"))[::-1].hex(), i // 3] for i in range(10_000)]
    entries = generated if vector["history"] == "generated" else vector["history"]
    items = [HistoryItem(entry[0], entry[1]) for entry in entries]
    assert status_hash(items) == vector["status"]


def test_possible_histories_pass() -> None:
    check_history([])
    check_history(history((1, 5), (2, 5), (3, 9), (4, 0), (5, -1)))


@pytest.mark.parametrize(
    "impossible",
    [history((1, 5), (1, 6)), history((1, 6), (2, 5)), history((1, 0), (2, 5)), history((1, 0), (1, -1))],
)
def test_impossible_histories_name_the_liar(impossible: list[HistoryItem]) -> None:
    with pytest.raises(LyingServerError) as lie:
        check_history(impossible)
    assert lie.value.what == "history"


def test_a_transaction_is_the_one_asked_for() -> None:
    first, second = electrum_vectors("transactions")["txs"][:2]
    raw, tx = parse_transaction(first["txid"], first["raw"])
    assert (raw.hex(), tx.txid) == (first["raw"], first["txid"])
    for text in (second["raw"], first["raw"] + "00", "", "ff"):
        with pytest.raises(LyingServerError) as lie:
            parse_transaction(first["txid"], text)
        assert lie.value.what == "txid"
