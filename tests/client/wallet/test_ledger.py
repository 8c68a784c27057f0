"""The ledger adds up to what the chain shows, through any history and any reorg."""

from __future__ import annotations

import random
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from twinlock.chain.coins import coin
from twinlock.chain.keys import PrivateKey
from twinlock.chain.script import p2wpkh, p2wsh, scripthash
from twinlock.chain.spend import build_payment, key_input
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import TxOut
from twinlock.client.wallet.ledger import Ledger, StakeTerms
from twinlock.electrum.simulated_chain import SimulatedChain
from twinlock.electrum.states import HistoryEntry
from twinlock.kernels.ripemd160 import hash160

COIN = coin("btc", "regtest")
KEYS = {p2wpkh(hash160(key.public)): key for key in (PrivateKey(sha256(bytes([i])).digest()) for i in range(5))}
OWN = list(KEYS)
COLD = OWN[-1]
"""Its key is elsewhere, as those of a cold wallet are."""
STAKES = [p2wsh(bytes([i])) for i in range(3)]
STRANGER = p2wpkh(bytes(20))

VERBS = ["pay", "send", "stake", "mine", "undo", "lock", "reward", "forget"]
stories = st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 999)), max_size=25)


class Rig:
    """A chain, a ledger that follows it, and dice."""

    def __init__(self) -> None:
        self.chain = SimulatedChain(COIN)
        self.chain.mine(140)
        self.ledger = Ledger(COIN)
        for index, script in enumerate(OWN):
            self.ledger.own(script, (0, index), f"address {index}", outside=script == COLD)
        self.stakes: set[CoinPoint] = set()

    def do(self, verb: str, dice: random.Random) -> None:
        match verb:
            case "pay":
                self.chain.pay(dice.choice(OWN), dice.randrange(10_000, 90_000))
            case "send":
                self._spend(dice, dice.choice([STRANGER, *OWN]))
            case "stake":
                self._spend(dice, dice.choice(STAKES))
            case "mine":
                self.chain.mine(dice.randrange(1, 4))
            case "undo":
                self.chain.undo(dice.randrange(1, 4))
            case "reward":
                self.chain.mine(to=dice.choice(OWN))
            case "forget" if self.chain.mempool:
                self.chain.forget(dice.choice(list(self.chain.mempool)))
            case "lock" if coins := self.ledger.coins():
                self.ledger.lock(dice.choice(coins).point, "order")

    def follow(self, dice: random.Random) -> None:
        """Hear of all scripts, in any order."""
        self.ledger.tip_height = self.chain.height
        scripts = [*OWN, *STAKES]
        dice.shuffle(scripts)
        for script in scripts:
            items = self.chain.history(script)
            history = [HistoryEntry(i.tx_hash, i.height if i.height > 0 else None, i.height < 0) for i in items]
            txs = {txid: self.chain.tx(txid) for txid in self.ledger.missing(history)}
            self.ledger.update(script, history, txs)

    def shown(self, scripts: list[bytes], points: set[CoinPoint] | None = None) -> int:
        """What the chain shows as unspent on these scripts."""
        found = [coin for script in scripts for coin in self.chain.unspent_of(scripthash(script))]
        return sum(value for point, value, _ in found if points is None or point in points)

    def _spend(self, dice: random.Random, to: bytes) -> None:
        coins = [coin for coin in self.ledger.coins() if coin.state == "available" and coin.out.value > 5_000]
        if not coins:
            return
        coin = dice.choice(coins)
        source = key_input(coin.point, coin.out.value, coin.out.script, KEYS[coin.out.script])
        payment = build_payment(COIN, [source], [TxOut(dice.randrange(1_000, 4_000), to)], dice.choice(OWN), 1)
        self.chain.submit(payment.raw)
        if to in STAKES:
            point = CoinPoint(payment.tx.hash, 0)
            self.stakes.add(point)
            self.ledger.stake(point, StakeTerms("swap", 0, "match"))


@settings(max_examples=60, deadline=None)
@given(stories)
def test_every_atom_is_in_one_place_and_none_is_missing(story: list[tuple[str, int]]) -> None:
    rig = Rig()
    for verb, seed in story:
        dice = random.Random(seed)
        rig.do(verb, dice)
        rig.follow(dice)
        balance = rig.ledger.balance()
        coins = rig.ledger.coins()
        assert balance.in_swap == rig.shown(STAKES, rig.stakes)
        assert balance.total - balance.in_swap == rig.shown(OWN) == sum(coin.out.value for coin in coins)
        assert len({coin.point for coin in coins}) == len(coins)
        assert balance.outside == sum(c.out.value for c in coins if c.state == "outside")
        assert all(c.out.script == COLD for c in coins if c.state == "outside")
        assert balance.immature == sum(c.out.value for c in coins if c.state == "immature")
        net = sum(payment.net for payment in rig.ledger.payments({}, {}))
        assert net == rig.shown(OWN), "the history explains the balance"


def test_a_coin_of_a_stranger_is_not_spent_before_it_is_mined_but_change_is() -> None:
    rig, dice = Rig(), random.Random(1)
    rig.chain.pay(OWN[0], 50_000)
    rig.follow(dice)
    assert [coin.state for coin in rig.ledger.coins()] == ["unconfirmed"]
    rig.chain.mine()
    rig.follow(dice)
    rig.do("send", dice)
    rig.follow(dice)
    assert {coin.state for coin in rig.ledger.coins()} == {"available"}
    assert all(coin.height is None for coin in rig.ledger.coins())


def test_a_reward_ripens_after_a_hundred_blocks() -> None:
    rig, dice = Rig(), random.Random(1)
    rig.chain.mine(to=OWN[0])
    rig.chain.mine(98)
    rig.follow(dice)
    assert rig.ledger.balance().immature == rig.ledger.balance().total > 0
    rig.chain.mine()
    rig.follow(dice)
    assert rig.ledger.balance().available == rig.ledger.balance().total


def test_when_two_scripts_disagree_for_a_moment_the_younger_word_counts() -> None:
    rig, dice = Rig(), random.Random(1)
    rig.chain.pay(OWN[0], 50_000)
    rig.chain.mine()
    rig.follow(dice)
    rig.do("send", dice)
    rig.follow(dice)
    rig.chain.mine()
    (entry,) = [item for item in rig.chain.history(OWN[0]) if item.height == rig.chain.height]
    history = [HistoryEntry(item.tx_hash, item.height) for item in rig.chain.history(OWN[0])]
    rig.ledger.update(OWN[0], history, {})
    assert [coin.height for coin in rig.ledger.coins()] == [entry.height] * len(rig.ledger.coins())
