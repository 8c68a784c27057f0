"""Making a swap proof: the papers that were kept, and from both chains the transactions, branches and headers."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from twinlock.chain import evidence
from twinlock.chain.keys import PrivateKey
from twinlock.chain.terms import CoinPoint
from twinlock.client.desk import CoinSide, Desk
from twinlock.client.order_messages import message_of, stamped
from twinlock.client.store.records import AccountRecord, OrderRecord, SwapRecord
from twinlock.electrum.states import OutputStatus
from twinlock.protocol import signing
from twinlock.protocol.messages.orders import Coin, PlaceLimit, PlaceMarket
from twinlock.protocol.messages.swaps import Audit, CounterpartyAddress, Init, Match, Redeem, Redemption
from twinlock.protocol.proof import Proof, ProofError, verify
from twinlock.protocol.proof.document import Inclusion, LegProof
from twinlock.protocol.routes import AUDIT, COUNTERPARTY_ADDRESS, INIT, MATCH, REDEEM, REDEMPTION, Route
from twinlock.protocol.swap import Leg
from twinlock.protocol.wire import Hex, decode

P = TypeVar("P")

_FORGOTTEN = (
    "the words alone do not bring back what was signed, and no server tells it again: "
    "`twinlock client recover --file` with a recovery file of the time of the swap does, also now"
)

BLOCKS_ON_TOP = 5
"""Blocks that are shown above the last transaction, if they are there: six confirmations."""


async def prove(desk: Desk, order: OrderRecord | None, record: SwapRecord) -> Proof:
    """The proof of one match as it stands now, signed and verified.

    Raises ProofError where a paper is missing or the contract is in no block yet; chain errors.
    """
    account = desk.store.get(AccountRecord, desk.host)  # Known also where the server was not reached.
    if order is None or account is None:
        raise ProofError(
            "the order of this match is not in the store", code="proof.order", fault="machine", fix=_FORGOTTEN
        )
    key = desk.keys.account_key(account.server_pubkey, account.key_index)
    own_leg, their_leg = record.swap.legs[record.party], record.swap.legs[record.party.other]
    if not own_leg.known:
        raise ProofError("this side never made a contract, so there is nothing to prove", code="proof.own")
    own = await _leg(desk.coin(record.own_asset), own_leg)
    theirs = await _leg(desk.coin(record.other_asset), their_leg) if their_leg.sound else None
    message = _order_message(order, account.account_id)
    draft = Proof(
        network=desk.network,
        server_key=Hex(account.server_pubkey),
        account_key=Hex(key.public),
        limit=message if isinstance(message, PlaceLimit) else None,
        market=message if isinstance(message, PlaceMarket) else None,
        match=_need(record, MATCH, Match),
        counterparty_address=_need(record, COUNTERPARTY_ADDRESS, CounterpartyAddress),
        init=_paper(record, INIT, Init),
        audit=_paper(record, AUDIT, Audit) if theirs is not None else None,
        redeem=_paper(record, REDEEM, Redeem) if theirs is not None and theirs.spending is not None else None,
        redemption=_paper(record, REDEMPTION, Redemption) if own.spending is not None else None,
        own=own,
        theirs=theirs,
    )
    return _signed(key, draft)


def _signed(key: PrivateKey, draft: Proof) -> Proof:
    """Signed and verified. What was reported of a redemption that another one replaced is left out."""
    without = msgspec.structs.replace(draft, redeem=None, redemption=None)
    refused: ProofError | None = None
    for each in (draft, without):
        proof = msgspec.structs.replace(each, sig=signing.sign(key, each.signed_bytes()))
        try:
            verify(proof)
        except ProofError as error:
            refused = refused or error
        else:
            return proof
    assert refused is not None
    raise refused


def _order_message(order: OrderRecord, account_id: bytes) -> PlaceLimit | PlaceMarket:
    coins = [Coin(coin_id=Hex(coin_id)) for coin_id in order.coins]
    message = stamped(message_of(order, account_id, coins), order.tserver)
    assert isinstance(message, PlaceLimit | PlaceMarket), "a cancel order has no swaps"
    return message


async def _leg(side: CoinSide, leg: Leg) -> LegProof:
    family = side.family
    point = family.parse_coin_id(leg.coin_id)
    output = await side.chain.output_status(point, family.contract_script(leg.contract))
    if output is None or output.height is None:
        raise ProofError(
            f"the contract on {side.coin.name} is in no block yet", code="proof.unconfirmed", fix="wait for a block"
        )
    first = output.height
    last = first if output.spender_height is None else output.spender_height
    top = min(last + BLOCKS_ON_TOP, (await side.chain.tip()).height)
    headers = [await side.chain.header(height) for height in range(first, top + 1)]
    raw = b"".join(header.serialize() for header in headers if header is not None)
    return LegProof(
        contract=Hex(leg.contract),
        output=point.index,
        funding=await _inclusion(side, point.txid, first, first),
        spending=await _spending(side, output, first),
        headers=Hex(raw),
    )


async def _spending(side: CoinSide, output: OutputStatus, first: int) -> Inclusion | None:
    if output.spender is None or output.spender_height is None:
        return None
    return await _inclusion(side, output.spender, output.spender_height, first, output.point)


async def _inclusion(side: CoinSide, txid: str, height: int, first: int, spends: CoinPoint | None = None) -> Inclusion:
    raw = await side.chain.raw_transaction(txid)
    place = await side.chain.inclusion(txid, height)
    return Inclusion(
        tx=Hex(evidence.bare(raw, spends)),
        block=height - first,
        position=place.position,
        branch=[Hex(node) for node in place.branch],
    )


def _paper(record: SwapRecord, route: Route[Any, Any], kind: type[P]) -> P | None:
    body = record.papers.get(route.name)
    return None if body is None else decode(body, kind)


def _need(record: SwapRecord, route: Route[Any, Any], kind: type[P]) -> P:
    paper = _paper(record, route, kind)
    if paper is None:
        raise ProofError(
            f"the server's {route.name} was not kept: the match was recovered, or is older than proofs",
            code="proof.papers",
            fault="machine",
            fix=_FORGOTTEN,
        )
    return paper
