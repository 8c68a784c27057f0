"""Contracts that are not as agreed, made by a rogue: the table `FORGERIES`, putting one on chain, reporting it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from msgspec.structs import replace
from tests.e2e.scenes.players import Rogue
from tests.e2e.scenes.scene import Scene

from twinlock.chain.family import Family
from twinlock.chain.terms import ContractTerms
from twinlock.client.desk import CoinSide
from twinlock.protocol import signing
from twinlock.protocol.messages.swaps import Audit, Init
from twinlock.protocol.routes import INIT
from twinlock.protocol.swap import Party
from twinlock.protocol.wire import Hex


class Forgery(NamedTuple):
    """told: the terms that the rogue reports. paid: those that its coin is locked by. short: atoms that are missing."""

    told: ContractTerms
    paid: ContractTerms
    short: int = 0


def both(terms: ContractTerms) -> Forgery:
    """Reported and paid alike."""
    return Forgery(terms, terms)


FORGERIES: dict[str, Callable[[ContractTerms], Forgery]] = {
    "pays_too_little": lambda terms: Forgery(terms, terms, short=1),
    "wrong_lock_time": lambda terms: both(replace(terms, lock_time=terms.lock_time - 1)),
    "wrong_recipient": lambda terms: both(replace(terms, recipient=terms.sender)),
    "wrong_script": lambda terms: Forgery(terms, replace(terms, recipient=terms.sender)),
    "wrong_secret_hash": lambda terms: both(replace(terms, secret_hash=sha256(b"another secret").digest())),
}
"""From the terms that were agreed."""

REASONS = {
    "pays_too_little": "does not hold the agreed amount",
    "wrong_lock_time": "unlocks too soon",
    "wrong_recipient": "does not pay the counterparty's address",
    "wrong_script": "does not pay",
    "wrong_secret_hash": "another secret hash",
}
"""The words that refuse each."""

REUSED = "serves another match"
"""The words that refuse what was used before."""

OF_MAKERS = [name for name in FORGERIES if name != "wrong_secret_hash"]
"""It is the maker who chooses the hash."""


class Forged(NamedTuple):
    """A contract that is not as agreed, on chain. paid: what its coin is really locked by."""

    side: CoinSide
    match_id: bytes
    coin_id: bytes
    contract: bytes
    paid: bytes
    value: int
    raw: bytes


async def forge(scene: Scene, party: Party, make: Callable[[ContractTerms], Forgery]) -> Forged:
    """The rogue on that side signs the contract that it should, withholds it, and broadcasts another one."""
    await scene.step(party, "contract_signed")
    record, side = rogue(scene, party).swap(scene.match_id), pays(scene, party)
    forgery = make(side.family.parse_contract(record.swap.legs[party].contract))
    value = scene.amount(party) - forgery.short
    contract, paid = (_contract(side.family, terms, value) for terms in (forgery.told, forgery.paid))
    coin = max((each for each in side.wallet.coins() if each.state == "available"), key=lambda each: each.value)
    rate = max(record.swap.terms.fee_rates[party], await side.chain.fee_rate())
    signed = await side.wallet.sign_swap([coin.coin_id], [(record.match_id, paid, value)], rate)
    await side.wallet.broadcast(signed.raw)
    scene.contracts[party] = side.family.coin_id_text(signed.outputs[0])
    return Forged(side, record.match_id, signed.outputs[0], contract, paid, value, signed.raw)


def duplicate(first: Scene, second: Scene, party: Party) -> Forged:
    """The rogue's contract of the first match, to be passed off as that of the second."""
    record, side = rogue(first, party).swap(first.match_id), pays(first, party)
    leg, match_id = record.swap.legs[party], bytes.fromhex(second.match_id)
    return Forged(side, match_id, leg.coin_id, leg.contract, leg.contract, first.amount(party), record.own_tx)


async def report(scene: Scene, party: Party, forged: Forged) -> None:
    """Tell the exchange of it. Raises RpcError when it refuses."""
    desk = rogue(scene, party).trader.venue().desk
    init = Init(
        order_id=Hex(bytes.fromhex(scene.orders[party])),
        match_id=Hex(forged.match_id),
        coin_id=Hex(forged.coin_id),
        contract=Hex(forged.contract),
    )
    await desk.session.request(INIT, signing.signed(desk.signing_key(), init))


def audit_of(scene: Scene, party: Party, forged: Forged) -> Audit:
    """What the exchange would ask that side, if it had accepted the contract."""
    return Audit(
        order_id=Hex(bytes.fromhex(scene.orders[party])),
        match_id=Hex(forged.match_id),
        timestamp=scene.stage.exchange.clock.now_ms(),
        coin_id=Hex(forged.coin_id),
        contract=Hex(forged.contract),
        tx=Hex(forged.raw),
    )


async def take_back(scene: Scene, party: Party, forged: Forged) -> None:
    """The rogue on that side refunds what it had locked; return when a block has the refund."""
    rate = await forged.side.chain.fee_rate()
    wallet, book = forged.side.wallet, scene.stage.books[scene.asset(party)]
    signed = await wallet.sign_refund(forged.match_id, forged.paid, forged.coin_id, forged.value, rate)
    await wallet.broadcast(signed.raw)

    async def mined() -> bool:
        await book.refresh()
        return book.find(signed.txid) is not None

    await scene.stage.patiently(mined)
    assert await mined(), f"no block takes {signed.txid}"


def _contract(family: Family, terms: ContractTerms, value: int) -> bytes:
    return family.make_contract(terms.recipient, terms.sender, terms.secret_hash, terms.lock_time, value)


def rogue(scene: Scene, party: Party) -> Rogue:
    """The player of that side, which is known to be one."""
    player = scene.player(party)
    assert isinstance(player, Rogue)
    return player


def secret_hash_of(scene: Scene, party: Party) -> bytes:
    """As the rogue on that side knows it."""
    return rogue(scene, party).swap(scene.match_id).swap.secret_hash


def pays(scene: Scene, party: Party) -> CoinSide:
    """The coin that the rogue on that side gives."""
    return rogue(scene, party).trader.coins[scene.asset(party)]
