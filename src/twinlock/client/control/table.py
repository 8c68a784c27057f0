"""The control interface as a table: every operation with its scope, its types and the function that answers.

The routes are made from it, and so is the OpenAPI document.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from twinlock.client.control import endpoints, requests, views, wallets
from twinlock.client.control.operations import HOST, Operation, Parameter
from twinlock.client.control.units import Rate
from twinlock.client.estimate import Estimate, MaxOrder
from twinlock.client.pins import Pin
from twinlock.client.store.living import PAST
from twinlock.client.wallet.types import Payment

BIN = Parameter("bin", str, "The length of a candle, such as 5m, 1h or 24h.", "1h")
COUNT = Parameter("count", Annotated[int, Meta(ge=1, le=10_000)], "How many at most, the newest.", 1_000)
ANY_HOST = Parameter("host", str, "The server; any of them without it.", "")
SIDE = Parameter("side", Literal["buy", "sell"], "What the order would do.")
RATE = Parameter("rate", Rate, "The order's message-rate.")
STATE = Parameter(
    "state", Literal["any", "open", "over"], "All that are open, the newest of the others, or both.", "any"
)
MARKET = Parameter("market", str, "Of that market only.", "")
PAST_COUNT = Parameter("count", Annotated[int, Meta(ge=0, le=1_000)], "How many of the others at most.", PAST)
BEFORE = Parameter("before", str, "Only what is over and stands before this cursor of a row.", "")
LOOK = (ANY_HOST, MARKET, STATE, PAST_COUNT, BEFORE)
"""How a list is read that grows for ever: page by page, what is open in the first."""

LOOKING = (
    Operation(
        "GET",
        "/status",
        "read",
        endpoints.status,
        views.StatusView,
        "Servers, accounts, and until when it is safe to close",
    ),
    Operation(
        "GET",
        "/account/explain",
        "read",
        endpoints.explain,
        views.ExplanationView,
        "Every point of our score",
        query=(HOST,),
    ),
    Operation(
        "GET", "/wallets", "read", endpoints.wallets, list[views.WalletView], "Every atom, by what it is good for"
    ),
    Operation("GET", "/bonds", "read", endpoints.bonds, list[views.BondView], "Every bond"),
    Operation("GET", "/markets", "read", endpoints.markets, list[views.MarketView], "Every market of every server"),
    Operation("GET", "/markets/{market}/book", "read", endpoints.book, views.BookView, "A book", query=(HOST,)),
    Operation(
        "GET",
        "/markets/{market}/epochs",
        "read",
        endpoints.epochs,
        list[views.EpochView],
        "Epochs that were replayed, oldest first",
        query=(HOST, COUNT),
    ),
    Operation(
        "GET",
        "/markets/{market}/candles",
        "read",
        endpoints.candles,
        list[views.CandleView],
        "Candles, oldest first",
        query=(HOST, BIN, COUNT),
    ),
    Operation(
        "GET",
        "/markets/{market}/largest",
        "read",
        endpoints.largest,
        MaxOrder,
        "The largest limit order possible now",
        query=(HOST, SIDE, RATE),
    ),
    Operation(
        "GET",
        "/orders",
        "read",
        endpoints.orders,
        list[views.OrderView],
        "Orders, oldest first: every one that is open, and the newest that are over",
        query=LOOK,
    ),
    Operation(
        "POST", "/orders/estimate", "read", endpoints.estimate, Estimate, "What an order may cost", requests.PlaceOrder
    ),
    Operation(
        "GET",
        "/conditions",
        "read",
        endpoints.conditions,
        list[views.ConditionView],
        "Orders that wait for a price, and the newest that do no more",
        query=LOOK,
    ),
    Operation(
        "GET",
        "/swaps",
        "read",
        endpoints.swaps,
        list[views.SwapView],
        "Matches and how far they are, oldest first: every one that is open, and the newest that are over",
        query=LOOK,
    ),
    Operation(
        "GET",
        "/swaps/{match_id}/proof",
        "read",
        endpoints.proof,
        list[views.ProofView],
        "Proofs of a match (its ID, or the beginning of it) that stand without a server",
    ),
    Operation("GET", "/evidence", "read", endpoints.evidence, list[views.EvidenceView], "Servers that broke the rules"),
    Operation("GET", "/evidence/{name:path}", "read", endpoints.one_evidence, views.EvidenceView, "What proves it"),
)

TRADING = (
    Operation(
        "POST",
        "/bonds",
        "trade",
        endpoints.post_bond,
        views.BondView,
        "Post a bond, keep its tier",
        requests.PostBondRequest,
    ),
    Operation(
        "POST",
        "/bonds/code",
        "trade",
        endpoints.redeem_code,
        views.TierView,
        "Use an operator's prepaid code",
        requests.RedeemCode,
    ),
    Operation(
        "POST", "/orders", "trade", endpoints.place_order, views.OrderView, "Place an order", requests.PlaceOrder
    ),
    Operation(
        "POST",
        "/orders/several",
        "trade",
        endpoints.place_orders,
        list[views.Outcome],
        "Place limit orders at one server",
        list[requests.PlaceOrder],
    ),
    Operation(
        "DELETE",
        "/orders/{order_id}",
        "trade",
        endpoints.cancel_order,
        views.OrderView,
        "Take an order off the book",
        query=(ANY_HOST,),
    ),
    Operation(
        "POST",
        "/conditions",
        "trade",
        endpoints.place_condition,
        views.ConditionView,
        "Wait for a price: stop-limit, one-cancels-other",
        requests.PlaceCondition,
    ),
    Operation(
        "DELETE",
        "/conditions/{name}",
        "trade",
        endpoints.cancel_condition,
        views.ConditionView,
        "Give a condition up",
        query=(ANY_HOST,),
    ),
)

OWNING = (
    Operation("GET", "/pins", "owner", endpoints.all_pins, list[Pin], "Certificates and keys as first seen"),
    Operation(
        "DELETE",
        "/pins/{name}",
        "owner",
        endpoints.forget_pin,
        views.Accepted,
        "Forget one; what the server shows next is pinned",
    ),
    Operation("GET", "/packets", "owner", endpoints.packets, list[views.PacketView], "What a watchtower is to hold"),
    Operation("GET", "/keys", "owner", endpoints.keys, list[views.KeyView], "Keys of this interface"),
    Operation("POST", "/keys", "owner", endpoints.create_key, views.KeyView, "Make a key", requests.NewKey),
    Operation("DELETE", "/keys/{name}", "owner", endpoints.revoke_key, views.Accepted, "Revoke a key"),
)

_ONE = "/wallets/{symbol}"
WALLETS = (
    Operation("GET", f"{_ONE}/coins", "read", wallets.coins, list[views.CoinView], "Every unspent output"),
    Operation("GET", f"{_ONE}/history", "read", wallets.history, list[Payment], "Every transaction, oldest first"),
    Operation(
        "GET",
        f"{_ONE}/descriptor",
        "read",
        wallets.descriptor,
        views.DescriptorView,
        "For a watch-only wallet elsewhere",
    ),
    Operation("GET", f"{_ONE}/labels", "read", wallets.labels, views.LabelsView, "Every label (BIP 329)"),
    Operation(
        "POST", f"{_ONE}/labels", "trade", wallets.label, views.LabelsView, "Name something", requests.LabelRequest
    ),
    Operation(
        "POST",
        f"{_ONE}/address",
        "trade",
        wallets.address,
        views.AddressView,
        "A fresh address",
        requests.AddressRequest,
    ),
    Operation(
        "POST",
        f"{_ONE}/freeze",
        "trade",
        wallets.freeze,
        list[views.CoinView],
        "Set coins aside, or take them back",
        requests.FreezeRequest,
    ),
    Operation(
        "POST",
        f"{_ONE}/rescan",
        "trade",
        wallets.rescan,
        list[views.CoinView],
        "Look at more addresses",
        requests.RescanRequest,
    ),
    Operation("POST", f"{_ONE}/send", "withdraw", wallets.send, views.SentView, "Pay", requests.PayRequest),
    Operation("POST", f"{_ONE}/sweep", "withdraw", wallets.sweep, views.SentView, "Pay all", requests.SweepRequest),
    Operation(
        "POST",
        f"{_ONE}/bump",
        "withdraw",
        wallets.bump,
        views.SentView,
        "Replace a payment by one that pays more (RBF)",
        requests.RaiseRequest,
    ),
    Operation(
        "POST",
        f"{_ONE}/pull",
        "withdraw",
        wallets.pull,
        views.SentView,
        "Let a child pay for a transaction (CPFP)",
        requests.RaiseRequest,
    ),
    Operation(
        "POST",
        f"{_ONE}/psbt",
        "trade",
        wallets.make_psbt,
        views.PsbtView,
        "A payment to be signed elsewhere",
        requests.DraftRequest,
    ),
    Operation(
        "POST",
        f"{_ONE}/psbt/sign",
        "withdraw",
        wallets.sign_psbt,
        views.PsbtView,
        "Add our signatures",
        requests.PsbtRequest,
    ),
    Operation(
        "POST",
        f"{_ONE}/psbt/send",
        "withdraw",
        wallets.send_psbt,
        views.SentView,
        "Finish a signed one and broadcast it",
        requests.PsbtRequest,
    ),
)

OPERATIONS = (*LOOKING, *TRADING, *WALLETS, *OWNING)
