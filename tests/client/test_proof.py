"""Swap proofs: made from a swap that was, verified without anything else, and broken by any change to any part."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from tests.client.test_settlement import reached
from tests.client.world import World, world

from twinlock.chain.coins import coin
from twinlock.chain.errors import ChainError
from twinlock.chain.header import Header
from twinlock.chain.keys import PrivateKey
from twinlock.cli.main import main
from twinlock.client.proof import prove
from twinlock.protocol import signing
from twinlock.protocol.proof import Proof, ProofError, verify
from twinlock.protocol.proof.document import read, write
from twinlock.protocol.proof.verify import _work
from twinlock.protocol.wire import Hex, encode

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        await it.funded("alice", "bob")
        yield it


async def swapped(it: World, *, maker_sells: bool = True) -> None:
    await it.matched(maker_sells)
    await it.settle(lambda: all(it.swap(name).outcome for name in ("alice", "bob")))
    await it.mine(6)
    await it.clock.advance(5)


async def proof_of(it: World, name: str) -> Proof:
    venue, record = it.traders[name].venue(), it.swap(name)
    proof = await it.call(prove(venue.desk, venue.orders.by_key(record.order_key), record))
    assert isinstance(proof, Proof)
    return read(write(proof))


def key_of(it: World, name: str) -> PrivateKey:
    return it.traders[name].venue().desk.signing_key()


@pytest.mark.parametrize("maker_sells", [True, False])
async def test_both_sides_prove_the_same_swap(it: World, maker_sells: bool) -> None:
    await swapped(it, maker_sells=maker_sells)
    maker, taker = verify(await proof_of(it, "alice")), verify(await proof_of(it, "bob"))
    assert (maker.role, taker.role) == ("maker", "taker")
    assert {maker.side, taker.side} == {"buy", "sell"}
    assert maker.outcome == taker.outcome == "swapped"
    assert maker.match_id == taker.match_id == it.swap("alice").match_id.hex()
    assert (maker.quantity, maker.rate) == (10_000_000, 250_000)
    assert maker.theirs is not None and taker.theirs is not None
    assert maker.own.contract_txid == taker.theirs.contract_txid
    assert maker.own.spending_txid == taker.theirs.spending_txid
    assert {maker.own.ending, maker.theirs.ending} == {"redeemed"}
    assert {maker.own.amount, maker.theirs.amount} == {10_000_000, 25_000}
    assert min(leg.confirmations for leg in (maker.own, maker.theirs)) >= 6
    full = await proof_of(it, "alice")
    assert all((full.init, full.audit, full.redeem))


async def test_a_refund_is_proven_too(it: World) -> None:
    await it.matched()
    await it.crash("bob")
    await it.settle(lambda: reached(it, "alice", "swap_accepted"))
    await it.pass_locks(it.swap("alice").swap.terms.locks[0])
    await it.settle(lambda: it.swap("alice").outcome == "refunded")
    statement = verify(await proof_of(it, "alice"))
    assert (statement.outcome, statement.own.ending, statement.theirs) == ("refunded", "refunded", None)


async def test_a_swap_is_proven_also_when_the_exchange_is_gone_for_ever(it: World) -> None:
    await swapped(it)
    it.server.down = True
    await it.server.hang_up()
    await it.restart("alice")
    assert verify(await proof_of(it, "alice")).outcome == "swapped"


async def test_what_has_no_contract_proves_nothing(it: World) -> None:
    await it.matched()
    await it.crash("alice")
    with pytest.raises(ProofError):
        await proof_of(it, "bob")


Path_ = tuple[str | int, ...]


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every number and text of a document."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, (*path, name))
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from leaves(each, (*path, i))
    elif value is not None:
        yield path, value


def changes(value: Any) -> list[Any]:
    """Other values of the same kind: a bit at the beginning, in the middle, at the end; one more; nothing."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value ^ 1 << 8]
    if not value:
        return ["00"]
    flips = {(len(value) - 1) * k // 8 for k in range(9)}
    return [value[:i] + ("0" if value[i] != "0" else "1") + value[i + 1 :] for i in flips] + [value[:-2]]


def changed(document: Any, path: Path_, value: Any) -> bytes:
    copy = json.loads(json.dumps(document))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(copy, separators=(",", ":")).encode() + b"\n"


async def test_any_change_to_any_part_is_found(it: World) -> None:
    await swapped(it)
    document = json.loads(write(await proof_of(it, "alice")))
    tried = 0
    for path, value in leaves(document):
        for other in changes(value):
            if other == value:
                continue
            with pytest.raises(ProofError):
                verify(read(changed(document, path, other)))
            tried += 1
    assert tried > 150


FREE = {
    # The prover says which key it is; another one is another account's document, refused by the order's ID.
    ("sig",),
}


async def test_the_prover_itself_cannot_change_a_part(it: World) -> None:
    """Whoever holds the account's key may sign anything; every other part is held by the server or by the chains."""
    await swapped(it)
    proof, key = await proof_of(it, "alice"), key_of(it, "alice")
    document = json.loads(write(proof))
    let_pass = []
    for path, value in leaves(document):
        if path in FREE:
            continue
        for other in changes(value):
            if other == value:
                continue
            try:
                forged = read(changed(document, path, other))
                forged = msgspec.structs.replace(forged, sig=signing.sign(key, forged.signed_bytes()))
                verify(forged)
            except ProofError:
                continue
            let_pass.append((path, other))
    # On a test chain the topmost header may be any, as its work is next to none; nothing else may.
    assert {path for path, _ in let_pass} <= {("own", "headers"), ("theirs", "headers")}


async def test_parts_of_another_swap_do_not_fit(it: World) -> None:
    await swapped(it)
    first, key = await proof_of(it, "alice"), key_of(it, "alice")
    await swapped(it)
    second = await proof_of(it, "alice")
    assert first.match.match_id != second.match.match_id
    for part in ("limit", "match", "counterparty_address", "init", "audit", "redeem", "own", "theirs"):
        mixed = msgspec.structs.replace(first, **{part: getattr(second, part)}, sig=Hex())
        mixed = msgspec.structs.replace(mixed, sig=signing.sign(key, mixed.signed_bytes()))
        with pytest.raises(ProofError):
            verify(mixed)
    swapped_legs = msgspec.structs.replace(first, own=first.theirs, theirs=first.own)
    with pytest.raises(ProofError):
        verify(msgspec.structs.replace(swapped_legs, sig=signing.sign(key, swapped_legs.signed_bytes())))


async def test_a_part_can_be_left_out_but_nothing_be_added(it: World) -> None:
    await swapped(it)
    proof, key = await proof_of(it, "alice"), key_of(it, "alice")
    short = msgspec.structs.replace(proof, init=None, audit=None, redeem=None, redemption=None)
    short = msgspec.structs.replace(short, sig=signing.sign(key, short.signed_bytes()))
    assert verify(short).outcome == "swapped"
    body = write(proof)
    for more in (body[:-2] + b',"note":"paid"}\n', body + b" ", body.replace(b'"match":{', b'"match":{"x":1,', 1)):
        assert more != body
        with pytest.raises(ProofError):
            read(more)
    for noise in (b"", b"{}", b"[]", encode(None), bytes(5 << 20)):
        with pytest.raises(ProofError):
            read(noise)


async def test_the_command_line_verifies_a_file(it: World, tmp_path: Path) -> None:
    await swapped(it)
    proof = await proof_of(it, "alice")
    file = tmp_path / "swap.proof"
    file.write_bytes(write(proof))
    run = CliRunner().invoke
    shown = run(main, ["proof", "verify", "--json", str(file)])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.output)["outcome"] == "swapped"
    assert run(main, ["proof", "verify", str(file)]).exit_code == 0
    assert run(main, ["proof", "verify", "--key", proof.server_key.hex(), str(file)]).exit_code == 0
    assert run(main, ["proof", "verify", "--key", "02" * 33, str(file)]).exit_code == 4
    assert run(main, ["proof", "verify", "--depth", "100", str(file)]).exit_code == 4
    file.write_bytes(write(proof).replace(b'"qty":1', b'"qty":2'))
    assert run(main, ["proof", "verify", str(file)]).exit_code == 1


GENESIS = Header(
    version=1,
    prev_hash=bytes(32),
    merkle_root=bytes.fromhex("3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"),
    time=1_231_006_505,
    bits=0x1D00FFFF,
    nonce=2_083_236_893,
)


def test_where_work_counts_every_header_must_have_it() -> None:
    btc = coin("btc", "mainnet")
    assert _work(btc, [GENESIS]) == 0x100010001
    for change in ({"nonce": 1}, {"time": 1_231_006_506}, {"merkle_root": bytes(32)}):
        with pytest.raises(ChainError):
            _work(btc, [GENESIS, msgspec.structs.replace(GENESIS, **change)])
    assert _work(coin("doge", "mainnet"), [GENESIS]) is None
