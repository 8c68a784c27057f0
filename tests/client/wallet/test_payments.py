"""What the owner of any kind of wallet does beside trading: coin control, labels, keys from elsewhere, fees, PSBTs."""

from __future__ import annotations

import itertools
from hashlib import sha256

import msgspec
import pytest
from tests.client.wallet.kit import Kit, history_of, shows
from tests.electrum.worlds import eventually

from twinlock.chain import psbt_sign, script, taproot
from twinlock.chain.address import address_to_script, script_to_address
from twinlock.chain.descriptor import Descriptor
from twinlock.chain.keys import PrivateKey, to_wif
from twinlock.chain.psbt import Psbt, PsbtError
from twinlock.chain.tx import Tx
from twinlock.client.wallet import LightWallet
from twinlock.client.wallet.errors import (
    BudgetError,
    FeeError,
    ShortFundsError,
    UnknownCoinError,
    WalletError,
)
from twinlock.kernels.ripemd160 import hash160

pytestmark = pytest.mark.anyio

WORLDS = {"simulated-btc": ("light", "cold"), "real-btc": ("cold", "node"), "real-ltc": ("light",)}

_keys = itertools.count(1)
NOBODY = script.p2wpkh(bytes(20))


def stranger(kit: Kit) -> str:

    return script_to_address(kit.world.coin, NOBODY) or ""


def new_key(kit: Kit) -> PrivateKey:
    return PrivateKey(sha256(f"{kit.world.coin.symbol} {kit.kind} {next(_keys)}".encode()).digest())


def by_value(wallet: LightWallet, value: int) -> bytes:
    return next(coin.coin_id for coin in wallet.coins() if coin.value == value)


async def test_the_owner_chooses_the_coins(kit: Kit) -> None:
    async with await kit.wallet() as wallet:
        await kit.fund(wallet, 300_000, 400_000, 500_000)
        chosen = [by_value(wallet, 300_000), by_value(wallet, 500_000)]
        signed = await wallet.send(stranger(kit), 100_000, 2, coins=chosen)
        assert set(signed.inputs) == set(chosen)
        with pytest.raises(UnknownCoinError):
            await wallet.send(stranger(kit), 10_000, 2, coins=chosen)  # locked by now
        with pytest.raises(ShortFundsError):
            wallet.fund(400_000, 1, 10, reference="order", coins=[by_value(wallet, 400_000)])
        funding = wallet.fund(100_000, 1, 10, reference="order", coins=[by_value(wallet, 400_000)])
        assert [coin.value for coin in funding.coins] == [400_000]


async def test_frozen_coins_stay_and_labels_go_round(kit: Kit) -> None:
    keys = kit.keys()
    async with await kit.wallet(keys) as wallet:
        await kit.fund(wallet, 300_000, 400_000)
        coin = by_value(wallet, 300_000)
        wallet.freeze([coin])
        with pytest.raises(ShortFundsError):
            wallet.fund(500_000, 1, 10, reference="order")
        wallet.label("ab" * 32, "rent")
        wallet.label("somewhere", "cellar", "addr")
        exported = wallet.export_labels()
    lines = [msgspec.json.decode(line) for line in exported.splitlines()]
    assert {"type": "tx", "ref": "ab" * 32, "label": "rent"} in lines
    assert {"type": "addr", "ref": "somewhere", "label": "cellar"} in lines
    assert [line["spendable"] for line in lines if line["type"] == "output"] == [False]
    async with await kit.wallet(keys) as other:
        assert other.import_labels(exported) == 3
        assert other.export_labels() == exported
        assert other.balance().locked == 300_000
        other.import_labels(exported.replace('"spendable":false', '"spendable":true'))
        assert other.balance().locked == 0
        for broken in ("{", '{"type": "output", "ref": "x:y"}', '{"type": 5}'):
            with pytest.raises(WalletError):
                other.import_labels(broken)


async def test_a_key_from_elsewhere_is_swept(kit: Kit) -> None:
    key = new_key(kit)
    program, legacy = script.p2wpkh(hash160(key.public)), script.p2pkh(hash160(key.public))
    outputs = [program, taproot.output_script(key.public), legacy, script.p2sh_of(program)]
    async with await kit.wallet() as wallet:
        with pytest.raises(ShortFundsError):
            await wallet.sweep_key(to_wif(kit.world.coin, key), 2)
        for value, output in zip((100_000, 110_000, 120_000, 130_000), outputs, strict=True):
            await kit.world.pay(output, value)
        await kit.world.mine()
        mined = await kit.world.height()
        await eventually(kit.view.tip, lambda tip: tip.height == mined)
        signed = await wallet.sweep_key(to_wif(kit.world.coin, key), 2)
        await wallet.broadcast(signed.raw)
        await kit.world.mine()
        await shows(wallet, **{kit.payout: 460_000 - signed.fee})


async def test_a_payment_is_replaced_by_a_better_paid_one(kit: Kit) -> None:
    async with await kit.wallet() as wallet:
        await kit.fund(wallet, 400_000)
        first = await wallet.send(stranger(kit), 250_000, 2, label="rent")
        await wallet.broadcast(first.raw)
        await shows(wallet, available=150_000 - first.fee)
        if not kit.world.coin.replaceable:
            with pytest.raises(FeeError):
                await wallet.bump(first.txid, 9, 100_000)
            return
        with pytest.raises(BudgetError):
            await wallet.bump(first.txid, 9, 100)
        second = await wallet.bump(first.txid, 9, 5_000)
        assert second.fee >= 9 * Tx.parse(second.raw).vsize
        assert Tx.parse(second.raw).outputs[0] == Tx.parse(first.raw).outputs[0]
        await wallet.broadcast(second.raw)
        await shows(wallet, available=150_000 - second.fee)
        await kit.world.mine()
        lines = await eventually(history_of(wallet), lambda lines: lines[-1].height is not None)
        assert (lines[-1].label, lines[-1].fee) == ("rent", second.fee)
        with pytest.raises(FeeError):
            await wallet.bump(second.txid, 20, 100_000)


async def test_a_child_pays_for_its_parent_as_often_as_needed(kit: Kit) -> None:
    async with await kit.wallet() as wallet:
        await kit.fund(wallet, 400_000)
        parent = await wallet.send(stranger(kit), 250_000, 1)
        await wallet.broadcast(parent.raw)
        await shows(wallet, available=150_000 - parent.fee)
        with pytest.raises(BudgetError):
            await wallet.pull(parent.txid, 10, 200)
        family, fees, left = [parent], parent.fee, 150_000 - parent.fee
        for rate in (10, 20):
            child = await wallet.pull(parent.txid, rate, 10_000)
            await wallet.broadcast(child.raw)
            family.append(child)
            fees, left = fees + child.fee, left - child.fee
            await shows(wallet, available=left)
            size = sum(Tx.parse(each.raw).vsize for each in family)
            assert 0 <= fees - rate * size <= rate * len(family)
            with pytest.raises(FeeError):
                await wallet.pull(parent.txid, rate, 10_000)
        await kit.world.mine()
        await shows(wallet, available=left)


async def test_what_others_pay_is_pulled_into_a_block(kit: Kit) -> None:
    async with await kit.wallet() as wallet:
        txid = await kit.world.pay(address_to_script(kit.world.coin, await kit.receive(wallet)), 90_000)
        await shows(wallet, unconfirmed=90_000)
        child = await wallet.pull(txid, 30, 80_000)
        await wallet.broadcast(child.raw)
        await kit.world.mine()
        await shows(wallet, available=90_000 - child.fee)


async def test_taproot_coins_are_received_and_sent_but_fund_no_order(kit: Kit) -> None:
    if kit.kind == "node" and kit.world.coin.symbol == "ltc":
        return  # its node makes no such addresses
    async with await kit.wallet() as wallet:
        address = await wallet.new_taproot_address()
        await kit.world.pay(address_to_script(kit.world.coin, address), 200_000)
        await kit.world.mine()
        await shows(wallet, available=200_000)
        with pytest.raises(ShortFundsError):
            wallet.fund(50_000, 1, 10, reference="order")
        signed = await wallet.send(stranger(kit), 50_000, 2)
        await wallet.broadcast(signed.raw)
        await shows(wallet, available=150_000 - signed.fee)
        [funding] = await wallet.fund_splits([(50_000, 1, "order")], 10, 2)
        assert funding.total == funding.required


async def test_a_psbt_goes_out_unsigned_and_comes_back_signed(kit: Kit) -> None:
    keys = kit.keys()
    async with await kit.wallet(keys) as wallet:
        await kit.world.pay(address_to_script(kit.world.coin, await wallet.new_address()), 600_000)
        await kit.world.mine()
        await shows(wallet, **{kit.payout: 600_000})
        psbt = await wallet.make_deposit(200_000, 3)
        assert wallet.balance().locked == 600_000
        with pytest.raises(PsbtError):
            await wallet.take_psbt(psbt)
        fee = psbt.fee
        assert fee is not None
        if kit.kind == "cold":
            with pytest.raises(PsbtError):
                await wallet.sign_psbt(psbt)
            with pytest.raises(ShortFundsError):
                await wallet.send(stranger(kit), 1_000, 2)
            signed = psbt_sign.sign_with(psbt, kit.cold_root(keys))
        else:
            signed = await wallet.sign_psbt(psbt)
        taken = await wallet.take_psbt(Psbt.parse(signed.text), label="to trade with")
        assert (taken.txid, taken.fee) == (psbt.tx.txid, fee)
        await wallet.broadcast(taken.raw)
        await shows(wallet, **kit.sums(200_000, 400_000 - fee))
        await kit.world.mine()
        await shows(wallet, **kit.sums(200_000, 400_000 - fee))
        funding = wallet.fund(100_000, 1, 10, reference="order")
        assert funding.total >= funding.required
        wallet.unlock([coin.coin_id for coin in funding.coins])
        if kit.kind == "cold":
            back = await wallet.sweep("", 2)
            await wallet.broadcast(back.raw)
            await shows(wallet, outside=600_000 - fee - back.fee)


async def test_a_rescan_looks_further(kit: Kit) -> None:
    if kit.kind != "light":
        return
    keys = kit.keys()
    async with await kit.wallet(keys) as wallet:
        await kit.world.pay(keys.script((0, 35)), 70_000)
        await kit.world.mine()
        await wallet.rescan(50)
        await shows(wallet, available=70_000)
        watch_only = Descriptor.parse(kit.world.coin, wallet.descriptor())
        assert watch_only.script(0, 35) == keys.script((0, 35))
