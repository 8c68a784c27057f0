"""What the control interface takes. Amounts are atoms, rates message-rates, IDs lower-case hex."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from twinlock.client.control.units import Atoms, FeeRate, Host, Market, Ms, Point, Rate, SomeAtoms, Tag
from twinlock.client.keyring import SCOPES, Scope
from twinlock.protocol.messages.orders import OrderOptions

View = msgspec.Struct


class Options(View, frozen=True, kw_only=True):
    """post_only: rather end than take. expiry: ms, 0 for none. max_matches: 0 for any number."""

    post_only: bool = False
    expiry: Ms = 0
    max_matches: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0

    @property
    def options(self) -> OrderOptions:
        return OrderOptions(post_only=self.post_only, expiry=self.expiry, max_matches=self.max_matches)


class PlaceOrder(Options, frozen=True, forbid_unknown_fields=True):
    """tag: the caller's own name for the order; placing the same tag again returns the first order.

    post_only: rather end than take. expiry: ms, 0 for none. max_matches: 0 for any number. split: pay for a
    transaction that makes a coin of exactly the sum needed, so that no more is locked (limit orders).
    """

    market: Market
    side: Literal["buy", "sell"]
    quantity: Atoms
    type: Literal["limit", "market"] = "limit"
    rate: Rate = 0
    force: Literal["standing", "immediate"] = "standing"
    tag: Tag = ""
    host: Host = ""
    split: bool = False


class PlaceCondition(Options, frozen=True, forbid_unknown_fields=True):
    """Place a limit order at `rate` once a trade reaches `stop`; placing the same name again changes nothing.

    rest_rate: an order of the same size rests at this rate until then (one-cancels-other). post_only, expiry,
    max_matches: of both orders, as in PlaceOrder; with the expiry the condition ends too.
    """

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    market: Market
    side: Literal["buy", "sell"]
    quantity: Atoms
    stop: Rate
    rate: Rate
    rest_rate: Rate = 0
    host: Host = ""


class RedeemCode(View, frozen=True, forbid_unknown_fields=True):
    """code: 32 hex digits of an operator's prepaid bond."""

    code: Annotated[str, Meta(pattern="^[0-9a-fA-F]{32}$")]
    host: Host = ""


class NewKey(View, frozen=True, forbid_unknown_fields=True):
    """A key to be made. Withdrawing is never among the scopes unless it is named."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    scopes: list[Scope] = msgspec.field(default_factory=lambda: list(SCOPES[:1]))


class PostBondRequest(View, frozen=True, forbid_unknown_fields=True):
    """asset: symbol, such as btc."""

    asset: str
    tier: Annotated[int, Meta(ge=1, le=1_000)] = 1
    host: Host = ""


# One wallet --------------------------------------------------------------------------------------------


class AddressRequest(View, frozen=True, forbid_unknown_fields=True):
    """kind: receive, taproot, or deposit (money that a cold wallet may trade with by itself)."""

    kind: Literal["receive", "taproot", "deposit"] = "receive"


class PayRequest(View, frozen=True, forbid_unknown_fields=True):
    """fee_rate: 0 for the chain's own estimate. coins: spend exactly these. label: what to call the transaction."""

    address: str
    amount: SomeAtoms
    fee_rate: FeeRate = 0
    coins: list[Point] = msgspec.field(default_factory=list)
    label: str = ""


class SweepRequest(View, frozen=True, forbid_unknown_fields=True):
    """Pay all that is available, or all of `coins`, to the address; without one, to where payouts go.

    key: take what this private key from elsewhere (WIF) can spend instead, into this wallet.
    """

    address: str = ""
    fee_rate: FeeRate = 0
    coins: list[Point] = msgspec.field(default_factory=list)
    label: str = ""
    key: str = ""


class DraftRequest(View, frozen=True, forbid_unknown_fields=True):
    """A payment to be signed elsewhere; without an address, to one that this wallet can trade from."""

    amount: SomeAtoms
    address: str = ""
    fee_rate: FeeRate = 0
    coins: list[Point] = msgspec.field(default_factory=list)


class RaiseRequest(View, frozen=True, forbid_unknown_fields=True):
    """budget: the most atoms that it may cost."""

    txid: str
    fee_rate: FeeRate
    budget: Atoms


class PsbtRequest(View, frozen=True, forbid_unknown_fields=True):
    """psbt: Base64."""

    psbt: str
    label: str = ""


class LabelRequest(View, frozen=True, forbid_unknown_fields=True):
    """subject: as in BIP 329. labels: a whole file to take over, in place of one label."""

    ref: str = ""
    label: str = ""
    subject: Literal["tx", "addr", "pubkey", "input", "output", "xpub"] = "tx"
    labels: str = ""


class FreezeRequest(View, frozen=True, forbid_unknown_fields=True):
    """coins: txid:index each."""

    coins: list[Point]
    frozen: bool = True


class RescanRequest(View, frozen=True, forbid_unknown_fields=True):
    """gap_limit: addresses beyond the last used one. since: height to look from; null leaves it as it is."""

    gap_limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    since: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
