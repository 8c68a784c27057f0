"""Real nodes judge every transaction that we build: relay policy and consensus, with and without segwit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest

from twinlock.chain import psbt_sign, script, spend, taproot
from twinlock.chain.address import script_to_address
from twinlock.chain.bond import BondScript
from twinlock.chain.coins import Coin, coin
from twinlock.chain.contract import SwapContract
from twinlock.chain.errors import FundsError
from twinlock.chain.keys import PrivateKey
from twinlock.chain.psbt import In, Psbt, field
from twinlock.chain.spend import Input, Payment
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx, TxOut
from twinlock.kernels.ripemd160 import hash160
from twinlock.simnet.node import KINDS, Node
from twinlock.simnet.processes import Processes

pytestmark = [pytest.mark.anyio, pytest.mark.node]

SECRET = b"\x5e" * 32
VALUE = 5_000_000
_secrets = count(1)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The nodes are shared, so all tests run on one loop."""
    return "asyncio"


@pytest.fixture(scope="module", params=["btc", "ltc"])
async def node(
    request: pytest.FixtureRequest, program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Node]:
    program(KINDS[request.param].program)
    folder = tmp_path_factory.mktemp(request.param)
    async with Processes(folder / "logs") as processes:
        node = Node(request.param, folder / "chain", processes)
        await node.start()
        yield node
        await node.stop()


@pytest.fixture(params=[True, False], ids=["segwit", "without segwit"])
def row(request: pytest.FixtureRequest, node: Node) -> Coin:
    """The node's coin, also as if it had no segwit: P2SH contracts are valid on every chain."""
    return replace(coin(node.symbol, "regtest"), segwit=request.param)


def new_key() -> PrivateKey:
    return PrivateKey(next(_secrets).to_bytes(32, "big"))


async def paid(node: Node, output: bytes, key: PrivateKey, value: int = 3 * VALUE) -> Input:
    """A fresh coin of that key, in the mempool."""
    address = script_to_address(coin(node.symbol, "regtest"), output)
    assert address is not None
    tx = Tx.parse(bytes.fromhex(await node.rpc("getrawtransaction", await node.fund(address, value))))
    index = next(i for i, out in enumerate(tx.outputs) if out.script == output)
    return spend.key_input(CoinPoint(tx.hash, index), value, output, key)


async def judge(node: Node, payment: Payment) -> str:
    """ "" if the node would relay and mine it, else its reason."""
    (verdict,) = await node.rpc("testmempoolaccept", [payment.raw.hex()])
    assert verdict["txid"] == payment.txid
    return "" if verdict["allowed"] else str(verdict["reject-reason"])


async def send(node: Node, payment: Payment) -> None:
    assert await node.rpc("sendrawtransaction", payment.raw.hex()) == payment.txid
    decoded = await node.rpc("decoderawtransaction", payment.raw.hex())
    assert (decoded["vsize"], decoded["hash"]) == (payment.tx.vsize, payment.tx.wtxid)


async def test_a_swap_is_redeemed_and_another_refunded(node: Node, row: Coin) -> None:
    maker, taker = new_key(), new_key()
    own = script.p2wpkh(hash160(maker.public))
    lock_time = await node.median_time() + 3600
    terms = SwapContract(sha256(SECRET).digest(), hash160(taker.public), hash160(maker.public), lock_time)
    contract = terms.serialize()
    swap = spend.build_swap(row, [await paid(node, own, maker)], [(contract, VALUE), (contract, VALUE)], own, 2)
    await send(node, swap)
    first, second = CoinPoint(swap.tx.hash, 0), CoinPoint(swap.tx.hash, 1)

    redeem = spend.build_redeem(row, [spend.redeem_input(row, first, VALUE, contract, taker, SECRET)], own, 2)
    await send(node, redeem)

    refund = spend.build_refund(row, spend.refund_input(row, second, VALUE, contract, maker), own, 2)
    assert await judge(node, refund) == "non-final"
    await node.pass_time(lock_time)
    await send(node, refund)
    await node.mine()
    assert await node.mempool() == []


async def test_a_refund_is_final_only_after_the_median_time_has_passed_the_lock_time(node: Node, row: Coin) -> None:
    maker = new_key()
    own = script.p2wpkh(hash160(maker.public))
    lock_time = await node.median_time() + 3600
    contract = SwapContract(bytes(32), bytes(20), hash160(maker.public), lock_time).serialize()
    swap = spend.build_swap(row, [await paid(node, own, maker)], [(contract, VALUE)], own, 2)
    await send(node, swap)
    spent = spend.refund_input(row, CoinPoint(swap.tx.hash, 0), VALUE, contract, maker)
    await node.pass_time(lock_time)
    assert await judge(node, spend.build_refund(row, spent, own, 2)) == ""
    # With a later lock time than the contract's the chain lets it wait; with an earlier one never in.
    early = spend.build_sweep(row, [spent], own, 2, lock_time - 1)
    assert "Locktime requirement not satisfied" in await judge(node, early)


@pytest.mark.parametrize("above", [False, True], ids=["four bytes", "five bytes"])
async def test_a_bond_is_relayed_and_taken_back_at_its_time(node: Node, row: Coin, above: bool) -> None:
    owner = new_key()
    own = script.p2wpkh(hash160(owner.public))
    lock_time = 1 << 31 if above else await node.median_time() + 3600
    bond = BondScript(lock_time, hash160(owner.public))
    posted = spend.build_bond(row, [await paid(node, own, owner)], VALUE, b"\xac" * 32, bond, own, 2)
    await send(node, posted)
    spent = spend.bond_input(row, CoinPoint(posted.tx.hash, 0), VALUE, bond.serialize(), owner)
    refund = spend.build_bond_refund(row, spent, own, 2)
    assert await judge(node, refund) == "non-final"
    if not above:
        await node.pass_time(lock_time)
        await send(node, refund)


def nested(key_hash: bytes) -> bytes:
    return script.p2sh_of(script.p2wpkh(key_hash))


@pytest.mark.parametrize("template", [script.p2wpkh, script.p2pkh, nested])
async def test_coins_of_both_kinds_are_spent_together(
    node: Node, row: Coin, template: Callable[[bytes], bytes]
) -> None:
    key = new_key()
    outputs = [template(hash160(key.public)), script.p2wpkh(hash160(key.public))]
    inputs = [await paid(node, output, key, VALUE + i) for i, output in enumerate(outputs)]
    sweep = spend.build_sweep(row, inputs, outputs[0], 1)
    await send(node, sweep)
    assert sweep.fee >= sweep.tx.vsize


async def test_a_taproot_coin_is_spent_by_its_key(node: Node) -> None:
    row, key = coin(node.symbol, "regtest"), new_key()
    outputs = [taproot.output_script(key.public), script.p2wpkh(hash160(key.public))]
    inputs = [await paid(node, output, key, VALUE + i) for i, output in enumerate(outputs)]
    sweep = spend.build_sweep(row, inputs, outputs[0], 1)
    await send(node, sweep)
    assert 0 <= sweep.fee - sweep.tx.vsize <= 1


async def test_the_node_signs_and_finishes_a_psbt_as_we_do(node: Node) -> None:
    row, key = coin(node.symbol, "regtest"), new_key()
    source = await paid(node, script.p2wpkh(hash160(key.public)), key)
    psbt = Psbt.of(spend.draft_sweep(row, [source], script.p2pkh(bytes(20)), 2).tx)
    psbt = psbt.with_input(0, {field(In.SPENT_OUTPUT): TxOut(source.value, source.script).serialize()})
    signed = psbt_sign.sign(psbt, 0, key)
    finished = await node.rpc("finalizepsbt", signed.text)
    assert finished["complete"]
    assert bytes.fromhex(finished["hex"]) == psbt_sign.extract(psbt_sign.finalize(signed)).serialize()
    assert await node.rpc("sendrawtransaction", finished["hex"]) == psbt.tx.txid


async def test_what_we_call_dust_is_what_the_node_calls_dust(node: Node) -> None:
    row, key = coin(node.symbol, "regtest"), new_key()
    own = script.p2wpkh(hash160(key.public))
    spent = await paid(node, own, key)
    for output in (own, script.p2wsh(b"\x51"), script.p2pkh(bytes(20)), script.p2sh(bytes(20))):
        smallest = spend.dust_threshold(row, output)
        assert await judge(node, spend.build_payment(row, [spent], [TxOut(smallest, output)], own, 2)) == ""
        with pytest.raises(FundsError):
            spend.build_payment(row, [spent], [TxOut(smallest - 1, output)], own, 2)
        lenient = replace(row, dust_rate=0)
        below = spend.build_payment(lenient, [spent], [TxOut(smallest - 1, output)], own, 2)
        assert (await judge(node, below)).startswith("dust")


async def test_a_secret_of_another_length_redeems_nothing(node: Node, row: Coin) -> None:
    maker, taker = new_key(), new_key()
    own = script.p2wpkh(hash160(maker.public))
    long = SECRET + b"\0"
    terms = SwapContract(sha256(long).digest(), hash160(taker.public), hash160(maker.public), 2_000_000_000)
    contract = terms.serialize()
    swap = spend.build_swap(row, [await paid(node, own, maker)], [(contract, VALUE)], own, 2)
    await send(node, swap)
    lock = spend.lock_script(row, contract)
    stack = (taker.public, long, b"\x01", contract)
    forced = Input(CoinPoint(swap.tx.hash, 0), VALUE, lock, contract, stack, taker)
    assert "EQUALVERIFY" in await judge(node, spend.build_redeem(row, [forced], own, 2))
