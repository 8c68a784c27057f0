"""A wallet's life, to the atom, whoever holds its coins: receive, send, fund, swap, bond, reorg, restart, restore.

The same tests for light, cold and node wallets. A cold wallet is given its money where it can trade with it by itself;
what comes back from contracts goes to the cold account (`Kit.payout` says where a balance shows it).
"""

from __future__ import annotations

from hashlib import sha256

import pytest
from tests.client.wallet.kit import Kit, history_of, shows
from tests.electrum.worlds import eventually

from twinlock.chain.address import address_to_script
from twinlock.chain.coinproof import verify_proof
from twinlock.chain.families import family_of
from twinlock.chain.keys import PrivateKey
from twinlock.chain.tx import Tx
from twinlock.client.store import MemoryStore
from twinlock.client.wallet import Balance, SwapPurpose
from twinlock.client.wallet.errors import ShortFundsError, UnknownCoinError, WalletError
from twinlock.electrum.errors import RejectedError

pytestmark = pytest.mark.anyio

ACCOUNT = bytes(range(32))
SECRET = bytes(range(100, 132))


async def test_a_payment_is_unconfirmed_first_and_then_available(kit: Kit) -> None:
    async with await kit.wallet() as wallet:
        assert wallet.balance() == Balance()
        address = await kit.receive(wallet)
        assert address != await kit.receive(wallet)
        txid = await kit.world.pay(address_to_script(kit.world.coin, address), 1_000_000)
        await shows(wallet, unconfirmed=1_000_000)
        with pytest.raises(ShortFundsError):
            await wallet.send(address, 10_000, 2)
        await kit.world.mine()
        await shows(wallet, available=1_000_000)
        (coin,) = wallet.coins()
        assert (coin.value, coin.address, coin.state, coin.height) == (
            1_000_000,
            address,
            "available",
            await kit.world.height(),
        )
        (payment,) = wallet.history()
        assert (payment.txid, payment.net, payment.fee, payment.height) == (
            txid,
            1_000_000,
            None,
            await kit.world.height(),
        )
        assert payment.time is not None


async def test_a_payment_out_costs_exactly_its_amount_and_its_fee(kit: Kit) -> None:
    async with await kit.wallet() as wallet, await kit.wallet() as payee:
        await kit.fund(wallet, 400_000, 700_000)
        signed = await wallet.send(await kit.receive(payee), 250_000, 3, label="rent")
        assert wallet.balance().locked in (400_000, 700_000)
        assert wallet.balance().total == 1_100_000
        assert await wallet.broadcast(signed.raw) == signed.txid
        assert await wallet.broadcast(signed.raw) == signed.txid
        await shows(wallet, available=1_100_000 - 250_000 - signed.fee)
        await shows(payee, unconfirmed=250_000)
        await kit.world.mine()
        await shows(payee, available=250_000)
        assert (wallet.history()[-1].net, wallet.history()[-1].fee) == (-250_000 - signed.fee, signed.fee)
        assert wallet.history()[-1].label == "rent"
        tx = Tx.parse(signed.raw)
        assert 3 * tx.vsize <= signed.fee <= 3 * (tx.vsize + len(tx.inputs))
        assert all(txin.sequence < 0xFFFFFFFE for txin in tx.inputs)


async def test_a_sweep_leaves_nothing(kit: Kit) -> None:
    async with await kit.wallet() as wallet, await kit.wallet() as heir:
        await kit.fund(wallet, 100_000, 200_000, 300_000)
        signed = await wallet.sweep(await kit.receive(heir), 2)
        await wallet.broadcast(signed.raw)
        await shows(wallet)
        await shows(heir, unconfirmed=600_000 - signed.fee)
        with pytest.raises(ShortFundsError):
            await wallet.sweep(await kit.receive(heir), 2)


async def test_an_orders_coins_are_locked_proven_and_given_back(kit: Kit) -> None:
    family = family_of(kit.world.coin)
    async with await kit.wallet() as wallet:
        await kit.fund(wallet, 500_000, 600_000)
        funding = wallet.fund(400_000, 1, 10, reference="order")
        assert funding.required == family.required_funds(400_000, 1, 69 * len(funding.coins), 10)
        assert funding.total >= funding.required
        assert wallet.balance().locked == funding.total
        for coin in funding.coins:
            pubkeys, sigs, redeem = await wallet.coin_proof(coin.coin_id)
            script = address_to_script(kit.world.coin, coin.address)
            verify_proof(script, redeem, coin.coin_id, pubkeys, sigs)
        with pytest.raises(ShortFundsError) as short:
            wallet.fund(900_000, 1, 10, reference="too much")
        assert short.value.numbers["have"] == 1_100_000 - funding.total - 69 * 10
        wallet.unlock([coin.coin_id for coin in funding.coins])
        assert wallet.balance() == Balance(available=1_100_000)
        with pytest.raises(UnknownCoinError):
            await wallet.coin_proof(family.coin_id("ab" * 32, 0))


async def test_a_split_makes_one_coin_of_the_sum_required(kit: Kit) -> None:
    async with await kit.wallet() as wallet:
        await kit.fund(wallet, 5_000_000)
        [funding] = await wallet.fund_splits([(400_000, 2, "order")], 10, 3)
        assert funding.split is not None
        assert funding.total == funding.required
        await wallet.coin_proof(funding.coins[0].coin_id)  # also before anybody has seen it
        await wallet.broadcast(funding.split.raw)
        await shows(wallet, locked=funding.total, available=5_000_000 - funding.total - funding.split.fee)


async def test_a_swap_between_two_wallets_ends_with_every_atom_in_its_place(kit: Kit) -> None:
    family, match_id = family_of(kit.world.coin), sha256(b"match").digest()
    async with await kit.wallet() as maker, await kit.wallet() as taker:
        await kit.fund(maker, 2_000_000)
        funding = maker.fund(1_000_000, 1, 10, reference="order")
        contract = family.make_contract(
            taker.swap_address(match_id, SwapPurpose.REDEEM),
            maker.swap_address(match_id, SwapPurpose.REFUND),
            sha256(SECRET).digest(),
            await kit.world.median_time() + 7200,
        )
        coin_ids = [coin.coin_id for coin in funding.coins]
        swap = await maker.sign_swap(coin_ids, [(match_id, contract, 1_000_000)], 5, lock_change="order")
        change = 1_000_000 - swap.fee
        assert maker.balance() == Balance(locked=2_000_000)
        await maker.broadcast(swap.raw)
        await shows(maker, in_swap=1_000_000, locked=change)
        assert family.audit_contract(contract, swap.outputs[0], swap.raw).value == 1_000_000
        (stake,) = maker.stakes()
        assert (stake.coin_id, stake.kind, stake.reference) == (swap.outputs[0], "swap", match_id.hex())

        if kit.world.coin.symbol == "btc":  # Litecoin's nodes replace nothing
            slow = await taker.sign_redeem(match_id, contract, swap.outputs[0], 1_000_000, SECRET, 2)
            await taker.broadcast(slow.raw)
            await shows(taker, unconfirmed=1_000_000 - slow.fee)
        redeem = await taker.sign_redeem(match_id, contract, swap.outputs[0], 1_000_000, SECRET, 5)
        await taker.broadcast(redeem.raw)
        point = family.parse_coin_id(swap.outputs[0])
        assert family.find_secret(redeem.raw, point, sha256(SECRET).digest()) == SECRET
        assert family.spends(redeem.raw, 0) == point
        await kit.world.mine()
        await shows(taker, **{kit.payout: 1_000_000 - redeem.fee})
        await shows(maker, locked=change)
        assert swap.change is not None
        maker.unlock([swap.change])
        await shows(maker, available=change)


async def test_the_change_of_an_unseen_swap_funds_the_next_one(kit: Kit) -> None:
    family = family_of(kit.world.coin)
    async with await kit.wallet() as maker, await kit.wallet() as taker:
        await kit.fund(maker, 3_000_000)
        coins = [coin.coin_id for coin in maker.fund(2_000_000, 2, 10, reference="order").coins]
        swaps = []
        for name in (b"first", b"second"):
            match_id = sha256(name).digest()
            addresses = taker.swap_address(match_id), maker.swap_address(match_id, SwapPurpose.REFUND)
            contract = family.make_contract(*addresses, sha256(SECRET).digest(), 2_000_000_000)
            swaps.append(await maker.sign_swap(coins, [(match_id, contract, 1_000_000)], 5, lock_change="order"))
            change = swaps[-1].change
            assert change is not None
            coins = [change]
        for swap in swaps:
            await maker.broadcast(swap.raw)
        await shows(maker, in_swap=2_000_000, locked=1_000_000 - sum(swap.fee for swap in swaps))


async def test_a_refund_is_refused_before_median_time_and_works_after(kit: Kit) -> None:
    family, match_id = family_of(kit.world.coin), sha256(b"refunded match").digest()
    async with await kit.wallet() as maker, await kit.wallet() as taker:
        await kit.fund(maker, 800_000)
        lock_time = await kit.world.median_time() + 3600
        addresses = taker.swap_address(match_id), maker.swap_address(match_id, SwapPurpose.REFUND)
        contract = family.make_contract(*addresses, sha256(SECRET).digest(), lock_time)
        coins = [coin.coin_id for coin in maker.fund(300_000, 1, 10, reference="order").coins]
        swap = await maker.sign_swap(coins, [(match_id, contract, 300_000)], 5)
        await maker.broadcast(swap.raw)
        await kit.world.mine()
        await shows(maker, in_swap=300_000, available=500_000 - swap.fee)
        refund = await maker.sign_refund(match_id, contract, swap.outputs[0], 300_000, 5)
        with pytest.raises(RejectedError) as early:
            await maker.broadcast(refund.raw)
        assert early.value.reason == "not_final"
        await kit.world.pass_time(lock_time)
        await maker.broadcast(refund.raw)
        await shows(maker, **kit.sums(500_000 - swap.fee, 300_000 - refund.fee))
        assert [payment.fee for payment in maker.history()[1:]] == [swap.fee, refund.fee]


async def test_a_bond_is_validated_posted_and_taken_back(kit: Kit) -> None:
    family, key = family_of(kit.world.coin), PrivateKey(bytes(31) + b"\x07")
    async with await kit.wallet() as wallet:
        await kit.fund(wallet, 900_000)
        lock_time = await kit.world.median_time() + 3600
        draft = await wallet.make_bond(500_000, lock_time, ACCOUNT, key.public, 4)
        assert Tx.parse(draft.unsigned).txid == draft.signed.txid
        terms = family.parse_bond_tx(draft.unsigned)
        assert (terms.account_id, terms.amount, terms.lock_time) == (ACCOUNT, 500_000, lock_time)
        assert wallet.balance() == Balance(locked=900_000)
        await wallet.broadcast(draft.signed.raw)
        change = 400_000 - draft.signed.fee
        await shows(wallet, bonded=500_000, available=change)
        await kit.world.pass_time(lock_time)
        refund = await wallet.refund_bond(draft.signed.outputs[0], 500_000, draft.script, key, 4)
        await wallet.broadcast(refund.raw)
        await shows(wallet, **kit.sums(400_000 - draft.signed.fee, 500_000 - refund.fee))


async def test_an_abandoned_transaction_frees_its_coins_and_a_sent_one_stays(kit: Kit) -> None:
    async with await kit.wallet() as wallet:
        await kit.fund(wallet, 900_000)
        draft = await wallet.make_bond(500_000, 2_000_000_000, ACCOUNT, PrivateKey(bytes(31) + b"\x08").public, 4)
        wallet.abandon(draft.signed.txid)
        assert wallet.balance() == Balance(available=900_000)
        sent = await wallet.send(await kit.receive(wallet), 100_000, 2)
        await wallet.broadcast(sent.raw)
        with pytest.raises(WalletError):
            wallet.abandon(sent.txid)


async def test_a_reorg_moves_money_back_and_forth_but_loses_none(kit: Kit) -> None:
    async with await kit.wallet() as wallet:
        await kit.world.pay(address_to_script(kit.world.coin, await kit.receive(wallet)), 640_000)
        await kit.world.mine(2)
        await shows(wallet, available=640_000)
        await kit.world.undo(2)
        await shows(wallet, unconfirmed=640_000)
        await kit.world.mine(3)
        await shows(wallet, available=640_000)


async def test_a_restart_remembers_locks_stakes_labels_and_addresses(kit: Kit) -> None:
    keys, store = kit.keys(), MemoryStore()
    async with await kit.wallet(keys, store) as wallet:
        await kit.fund(wallet, 500_000, 600_000)
        funding = wallet.fund(450_000, 1, 10, reference="order")
        draft = await wallet.make_bond(100_000, 2_000_000_000, ACCOUNT, PrivateKey(bytes(31) + b"\x09").public, 4)
        await wallet.broadcast(draft.signed.raw)
        wallet.label(draft.signed.txid, "bond")
        await shows(
            wallet, locked=funding.total, bonded=100_000, available=1_000_000 - funding.total - draft.signed.fee
        )
        balance, history, address = wallet.balance(), wallet.history(), await kit.receive(wallet)
    async with await kit.wallet(keys, store) as wallet:
        assert (wallet.balance(), wallet.history()) == (balance, history)
        assert {coin.locked_for for coin in wallet.coins() if coin.state == "locked"} == {"order"}
        assert await kit.receive(wallet) != address


async def test_the_seed_alone_restores_every_coin(kit: Kit) -> None:
    keys = kit.keys()
    async with await kit.wallet(keys) as wallet:
        await kit.fund(wallet, *[100_000 + i for i in range(25)])
        signed = await wallet.send(await kit.receive(wallet), 1_500_000, 2)
        await wallet.broadcast(signed.raw)
        await kit.world.mine()
        await shows(wallet, available=sum(100_000 + i for i in range(25)) - signed.fee)
        await eventually(history_of(wallet), lambda lines: len(lines) == 26 and lines[-1].height is not None)
        balance, history = wallet.balance(), wallet.history()
    async with await kit.wallet(keys) as restored:
        assert restored.scanned
        assert (restored.balance(), restored.history()) == (balance, history)
