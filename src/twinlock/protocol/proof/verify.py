"""What must hold for a document to be a proof. Each step names the part that it finds at fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from twinlock.chain import evidence, header, merkle
from twinlock.chain.coins import Coin, Network, coin_by_id
from twinlock.chain.families import family_of
from twinlock.chain.family import Family
from twinlock.chain.header import Header
from twinlock.chain.terms import ContractAudit
from twinlock.errors import TwinlockError
from twinlock.protocol import signing
from twinlock.protocol.account import account_id
from twinlock.protocol.constants import LOCK_TIME_MAKER_MS, LOCK_TIME_TAKER_MS
from twinlock.protocol.orders import OrderType, Side, accept
from twinlock.protocol.proof.document import VERSION, Inclusion, LegProof, Proof, ProofError
from twinlock.protocol.swap import Party, Terms, agree
from twinlock.protocol.wire import Signed


class LegStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What is proven of one contract. amount: atoms; txids and hashes as displayed; blocks: (hash, blocks on top).

    work: expected hashes behind all headers shown, None where a coin's headers do not show their own work. ending:
    redeemed, refunded, or open where no spending is shown.
    """

    asset: str
    amount: int
    contract_txid: str
    contract_block: str
    spending_txid: str
    spending_block: str
    confirmations: int
    work: int | None
    ending: str


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified proof says. rate: message-rate; time: ms, the end of the match's epoch."""

    network: str
    server_key: str
    account_id: str
    match_id: str
    order_id: str
    role: str
    side: str
    quantity: int
    rate: int
    time: int
    outcome: str
    own: LegStatement
    theirs: LegStatement | None


class _Leg(msgspec.Struct, frozen=True):
    """A leg that was checked."""

    audit: ContractAudit
    statement: LegStatement
    secret: bytes
    spending_coin: bytes
    coin_id: bytes


def verify(proof: Proof) -> Statement:
    """What the document proves. Raises ProofError; nothing but the document is looked at."""
    _require(proof.version == VERSION, "version", f"version {proof.version} of the document is not known")
    key = bytes(proof.account_key)
    with _about("signature"):
        _require(signing.check(key, proof.signed_bytes(), proof.sig), "signature", "the account did not sign this")
    side, base, quote = _order(proof)
    party = _match(proof)
    maker_sells = (side is Side.SELL) == (party is Party.MAKER)
    terms = _terms(proof, maker_sells)
    paid, got = (base, quote) if side is Side.SELL else (quote, base)
    _check_signed(proof, "counterparty_address", proof.counterparty_address)
    own = _leg("own", paid, proof.own)
    _check_terms("own", own, terms, party)
    _check_role(proof, own, terms, party)
    _require(
        own.audit.terms.recipient == proof.counterparty_address.address,
        "own",
        "the contract does not pay the address that the server named",
    )
    theirs = None if proof.theirs is None else _leg("theirs", got, proof.theirs)
    if theirs is not None:
        _check_terms("theirs", theirs, terms, party.other)
        later = own.audit.terms.lock_time > theirs.audit.terms.lock_time
        _require(later == (party is Party.MAKER), "match", "the maker's contract is not the one that is locked longer")
        same = theirs.audit.terms.secret_hash == own.audit.terms.secret_hash
        _require(same, "secret", "the two contracts are locked with different secrets")
    _messages(proof, own, theirs)
    return Statement(
        network=proof.network,
        server_key=proof.server_key.hex(),
        account_id=account_id(key).hex(),
        match_id=proof.match.match_id.hex(),
        order_id=proof.match.order_id.hex(),
        role=party.name.lower(),
        side=side.name.lower(),
        quantity=proof.match.quantity,
        rate=proof.match.rate,
        time=proof.match.server_time,
        outcome=_outcome(own, theirs),
        own=own.statement,
        theirs=None if theirs is None else theirs.statement,
    )


# The parts ---------------------------------------------------------------------------------------------------


def _order(proof: Proof) -> tuple[Side, Coin, Coin]:
    """The order's side and coins: they are in its ID, which the server signed in the match."""
    message = proof.limit or proof.market
    with _about("order"):
        if message is None or (proof.limit and proof.market):
            raise ProofError("there must be one order", code="proof.order")
        kind = OrderType.LIMIT if proof.limit else OrderType.MARKET
        _require(message.order_type == kind, "order", "the order says that it is of another kind")
        _require(message.sig == b"", "order", "an order is proven by its ID and bears no signature here")
        _require(account_id(proof.account_key) == message.account_id, "order", "the order is another account's")
        # Only what the ID covers may stand here.
        bare = all((coin.public_keys, coin.signatures, coin.redeem) == ([], [], b"") for coin in message.coins)
        _require(bare, "order", "the order's coins hold more than their IDs")
        order = accept(message, message.server_time)
        _require(order.id == proof.match.order_id, "order", "the match is not about this order")
        sides = coin_by_id(message.base, proof.network), coin_by_id(message.quote, proof.network)
        return Side(message.side), *sides


def _match(proof: Proof) -> Party:
    _check_signed(proof, "match", proof.match)
    with _about("match"):
        _require(proof.match.status == 0 and bool(proof.match.address), "match", "that is no new match of a trade")
        return Party(proof.match.side)


def _terms(proof: Proof, maker_sells: bool) -> Terms:
    match = proof.match
    return agree(
        bytes(match.match_id),
        quantity=match.quantity,
        rate=match.rate,
        maker_sells=maker_sells,
        made_ms=match.server_time,
        base_depth=1,
        quote_depth=1,
        maker_lock_ms=LOCK_TIME_MAKER_MS if proof.network is Network.MAINNET else 0,
        taker_lock_ms=LOCK_TIME_TAKER_MS if proof.network is Network.MAINNET else 0,
    )


def _check_terms(part: str, leg: _Leg, terms: Terms, party: Party) -> None:
    amount, agreed = leg.audit.value, terms.amounts[party]
    exact = amount == agreed if part == "own" else amount >= agreed
    _require(exact, part, "the contract does not hold the agreed amount")
    _require(leg.audit.terms.lock_time >= terms.locks[party], part, "the contract unlocks before it may")


def _check_role(proof: Proof, own: _Leg, terms: Terms, party: Party) -> None:
    """The role is not in the server's signature; our own lock time tells it where spans are fixed."""
    exact = proof.network is not Network.MAINNET or own.audit.terms.lock_time == terms.locks[party]
    _require(exact, "match", "the own contract has another side's lock time")


def _messages(proof: Proof, own: _Leg, theirs: _Leg | None) -> None:
    """What was said of the contracts and of their ends is what the chains show."""
    init, audit, redeem, redemption = proof.init, proof.audit, proof.redeem, proof.redemption
    if init is not None:
        _check_signed(proof, "init", init)
        _require((init.coin_id, init.contract) == (own.coin_id, proof.own.contract), "init", "another contract")
    if audit is not None:
        _check_signed(proof, "audit", audit)
        _require(not audit.tx, "audit", "the transaction in it is covered by no signature")
        shown = (theirs.coin_id, bytes(proof.theirs.contract)) if theirs and proof.theirs else None
        _require((audit.coin_id, audit.contract) == shown, "audit", "another contract")
    if redeem is not None:
        _check_signed(proof, "redeem", redeem)
        taken = (theirs.spending_coin, theirs.secret) if theirs else None
        _require((redeem.coin_id, redeem.secret) == taken, "redeem", "another redemption")
    if redemption is not None:
        _check_signed(proof, "redemption", redemption)
        fits = redemption.coin_id == own.spending_coin and redemption.secret in (b"", own.secret)
        _require(fits, "redemption", "another redemption")


def _leg(part: str, coin: Coin, leg: LegProof) -> _Leg:
    """A contract, its two transactions, and the blocks that hold them."""
    family = family_of(coin)
    with _about(part):
        headers = header.parse_headers(leg.headers)
        header.check_links(headers)
        _require(leg.funding.block == 0, part, "the headers do not begin with the funding's block")
        txid = _included(family, leg.funding, headers)
        coin_id = family.coin_id(txid, leg.output)
        _require(evidence.bare(leg.funding.tx) == leg.funding.tx, part, "the funding holds more than it can prove")
        audit = family.audit_contract(leg.contract, coin_id, leg.funding.tx)
        shown = LegStatement(
            asset=coin.symbol,
            amount=audit.value,
            contract_txid=txid,
            contract_block=headers[0].hash_hex,
            spending_txid="",
            spending_block="",
            confirmations=len(headers),
            work=_work(coin, headers),
            ending="open",
        )
        if leg.spending is None:
            return _Leg(audit, shown, b"", b"", coin_id)
        return _spent(family, leg.spending, headers, audit, shown, bytes(leg.contract), coin_id)


def _spent(
    family: Family,
    spending: Inclusion,
    headers: list[Header],
    audit: ContractAudit,
    shown: LegStatement,
    contract: bytes,
    coin_id: bytes,
) -> _Leg:
    txid = _included(family, spending, headers)
    points = family.inputs(spending.tx)
    _require(audit.point in points, "spending", "the transaction does not spend the contract")
    evidence.check_spending(family.coin, spending.tx, audit.point, audit.value, contract)
    secret = family.find_secret(spending.tx, audit.point, audit.terms.secret_hash)
    statement = msgspec.structs.replace(
        shown,
        spending_txid=txid,
        spending_block=headers[spending.block].hash_hex,
        confirmations=len(headers) - spending.block,
        ending="refunded" if secret is None else "redeemed",
    )
    return _Leg(audit, statement, secret or b"", family.coin_id(txid, points.index(audit.point)), coin_id)


def _included(family: Family, inclusion: Inclusion, headers: list[Header]) -> str:
    """The ID of the transaction, once its branch leads to its block's header."""
    if not 0 <= inclusion.block < len(headers):
        raise ProofError("the transaction's block is not shown", code="proof.inclusion")
    txid = family.tx_id(inclusion.tx)
    root = headers[inclusion.block].merkle_root
    merkle.check_inclusion(
        bytes.fromhex(txid)[::-1], [bytes(node) for node in inclusion.branch], inclusion.position, root
    )
    return txid


def _work(coin: Coin, headers: list[Header]) -> int | None:
    """Expected hashes; None where the work stands elsewhere than in the headers (merged mining).

    On a private test chain anybody may make blocks, and what they claim to be worth says nothing.
    """
    if coin.auxpow:
        return None
    if coin.network is not Network.REGTEST:
        for each in headers:
            header.check_proof_of_work(coin, each)
    return sum(header.work(each.bits) for each in headers)


def _outcome(own: _Leg, theirs: _Leg | None) -> str:
    got = theirs is not None and theirs.statement.ending == "redeemed"
    if got:
        return "swapped"
    return {"refunded": "refunded", "redeemed": "lost"}.get(own.statement.ending, "open")


# Small things ------------------------------------------------------------------------------------------------


def _check_signed(proof: Proof, part: str, message: Signed) -> None:
    """The server signed it, and it is about this match and this order."""
    with _about(part):
        good = signing.check(proof.server_key, message.signed_bytes(), message.sig)
        _require(good, part, "the server did not sign this")
        ids = getattr(message, "match_id", b""), getattr(message, "order_id", b"")
        _require(ids == (proof.match.match_id, proof.match.order_id), part, "it is about another match")


def _require(holds: bool, part: str, message: str) -> None:
    if not holds:
        raise ProofError(f"{part}: {message}", code=f"proof.{part}")


@contextmanager
def _about(part: str) -> Iterator[None]:
    """Whatever fails inside is the fault of that part of the document."""
    try:
        yield
    except ProofError:
        raise
    except (TwinlockError, ValueError, IndexError, OverflowError) as error:
        raise ProofError(f"{part}: {error}", code=f"proof.{part}") from error
