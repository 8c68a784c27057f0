"""Swaps in flight, found again with nothing but the seed: the server tells what was cast, the chains hold the rest.

Addresses, keys and the maker's secret of a match follow from the seed and the match's ID. So a contract shows by its
parties whether it is ours, on which chain we pay, and that is all that redeeming and refunding need.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from twinlock.chain.errors import ChainError
from twinlock.chain.terms import ContractTerms
from twinlock.client.desk import CoinSide, Desk
from twinlock.client.store.records import SwapRecord
from twinlock.protocol.messages.config import Market
from twinlock.protocol.messages.status import ActiveMatch, MatchStatusRequest, MatchStatusResult
from twinlock.protocol.routes import MATCH_STATUS
from twinlock.protocol.swap import AddressKnown, Party, Swap, Terms, agree, apply
from twinlock.protocol.swap.events import ContractMade, SecretLearned

CONTRACTS_MAX = 64
"""Outputs of a transaction that are looked at; contracts come first."""


class Funded(NamedTuple):
    """A contract's output, and the transaction that it is in."""

    coin_id: bytes
    raw: bytes


async def recover(desk: Desk, match: ActiveMatch) -> SwapRecord | None:
    """The record of a match that the server lists and we have forgotten; None if nothing of ours is at stake in it.

    Raises what the server and the chains raise. The record is not stored yet.
    """
    for market in desk.require_config().markets:
        if market.base not in desk.coins or market.quote not in desk.coins:
            continue
        question = MatchStatusRequest(base=market.base, quote=market.quote, match_id=match.match_id)
        for answer in await desk.session.request(MATCH_STATUS, [question]):
            record = await _rebuild(desk, match, market, answer)
            if record is not None:
                return record
    return None


async def _rebuild(desk: Desk, match: ActiveMatch, market: Market, answer: MatchStatusResult) -> SwapRecord | None:
    party = Party(match.side)
    told = (answer.maker_contract, answer.maker_swap), (answer.taker_contract, answer.taker_swap)
    contract, coin_id = (bytes(each) for each in told[party])
    own = _payer(desk, market, bytes(match.match_id), contract)
    if own is None:
        found = await _untold(desk, match, market, answer) if not contract and match.address else None
        if found is None:
            return None
        payer, contract, (coin_id, raw) = found
        terms = payer.family.parse_contract(contract)
    else:
        payer, terms = own
        raw = await payer.chain.raw_transaction(payer.family.parse_coin_id(coin_id).txid)
    sells = payer.coin.asset_id == market.base
    record = SwapRecord(
        host=desk.host,
        party=party,
        order_key="",
        order_id=bytes(match.order_id),
        market=market.name,
        base=market.base,
        quote=market.quote,
        quantity=match.quantity,
        rate=match.rate,
        own_asset=market.base if sells else market.quote,
        other_asset=market.quote if sells else market.base,
        fee_limit=desk.asset(payer.coin.asset_id).max_fee_rate,
        swap=_facts(desk, match, market, sells, terms.secret_hash, coin_id, contract),
        own_tx=raw,
    )
    payer.wallet.add_stake(coin_id, "swap", contract, terms.lock_time, record.match_id.hex())
    return record


async def find_funding(side: CoinSide, contract: bytes) -> Funded | None:
    """The output that holds the contract's funds, by the history of its script, the mempool included."""
    family = side.family
    history = await side.chain.script_history(family.contract_script(contract))
    for entry in history.history:
        raw = await side.chain.raw_transaction(entry.txid)
        for index in range(CONTRACTS_MAX):
            coin_id = family.coin_id(entry.txid, index)
            try:
                family.audit_contract(contract, coin_id, raw)
            except ChainError:
                continue
            return Funded(coin_id, raw)
    return None


async def _untold(
    desk: Desk, match: ActiveMatch, market: Market, answer: MatchStatusResult
) -> tuple[CoinSide, bytes, Funded] | None:
    """A contract of ours that the server was not told of: everything in it is known, so its script is."""
    party, match_id = Party(match.side), bytes(match.match_id)
    for asset, other in ((market.base, market.quote), (market.quote, market.base)):
        payer, receiver = desk.coin(asset), desk.coin(other)
        try:
            recipient = payer.family.check_receive_address(match.address)
            secret_hash = (
                sha256(desk.keys.swap_secret(match_id)).digest()
                if party is Party.MAKER
                else receiver.family.parse_contract(bytes(answer.maker_contract)).secret_hash
            )
        except ChainError:
            continue  # of the other coin, or there is no contract to answer yet
        terms = _terms(desk, match, market, asset == market.base)
        contract = payer.family.make_contract(
            recipient,
            payer.wallet.swap_address(match_id, "refund"),
            secret_hash,
            terms.locks[party],
            terms.amounts[party],
        )
        funded = await find_funding(payer, contract)
        if funded is not None:
            return payer, contract, funded
    return None


def _payer(desk: Desk, market: Market, match_id: bytes, contract: bytes) -> tuple[CoinSide, ContractTerms] | None:
    """On whose chain a contract pays back to us, and its terms."""
    for asset in (market.base, market.quote):
        side = desk.coin(asset)
        try:
            terms = side.family.parse_contract(contract)
        except ChainError:
            continue
        if terms.sender == side.wallet.swap_address(match_id, "refund"):
            return side, terms
    return None


def _facts(
    desk: Desk,
    match: ActiveMatch,
    market: Market,
    sells: bool,
    secret_hash: bytes,
    coin_id: bytes,
    contract: bytes,
) -> Swap:
    party, now = Party(match.side), desk.clock.now_ms()
    receiver = desk.coin(market.quote if sells else market.base)
    terms = _terms(desk, match, market, sells)
    facts: list[object] = [
        AddressKnown(party, receiver.wallet.swap_address(terms.match_id), now),
        AddressKnown(party.other, match.address, now),
        ContractMade(party, coin_id, contract, secret_hash),
    ]
    secret = desk.keys.swap_secret(terms.match_id)
    if party is Party.MAKER and sha256(secret).digest() == secret_hash:
        facts.append(SecretLearned(secret))
    swap = Swap(terms=terms)
    for fact in facts:
        swap = apply(swap, fact)
    return swap


def _terms(desk: Desk, match: ActiveMatch, market: Market, sells: bool) -> Terms:
    return agree(
        bytes(match.match_id),
        quantity=match.quantity,
        rate=match.rate,
        maker_sells=sells == (match.side == Party.MAKER),
        made_ms=match.server_time,
        base_depth=desk.asset(market.base).swap_conf,
        quote_depth=desk.asset(market.quote).swap_conf,
        base_fee_rate=match.fee_rate_base,
        quote_fee_rate=match.fee_rate_quote,
        maker_lock_ms=desk.locks.maker * 1000,
        taker_lock_ms=desk.locks.taker * 1000,
        broadcast_timeout_ms=desk.require_config().broadcast_timeout_ms,
    )
