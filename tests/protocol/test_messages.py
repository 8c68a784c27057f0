"""Signed bytes by the vectors, exact member names, and every payload there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.protocol.support import raw, vector

from twinlock.chain.keys import PrivateKey
from twinlock.protocol import signing
from twinlock.protocol.messages import account, book, config, orders, status, swaps
from twinlock.protocol.routes import ROUTES, Direction
from twinlock.protocol.wire import DecodeError, Hex, Signed, decode, encode

ID = "11" * 32
SIG = "30ff"


def _convert(kind: type[Any], members: dict[str, Any]) -> Any:
    return decode(json.dumps(members), kind)


SERIALIZATIONS: list[tuple[str, type[Signed]]] = [
    ("match-serialization", swaps.Match),
    ("init-serialization", swaps.Init),
    ("audit-serialization", swaps.Audit),
    ("revoke-match-serialization", swaps.RevokeMatch),
    ("redeem-serialization", swaps.Redeem),
    ("redemption-serialization", swaps.Redemption),
    ("connect-serialization", account.Connect),
    ("revoke-order-signature", orders.RevokeOrder),
    ("counterparty-address-serialization", swaps.CounterpartyAddress),
    ("postbond-serialization", account.PostBond),
]


@pytest.mark.parametrize(("name", "kind"), SERIALIZATIONS)
def test_signed_bytes(name: str, kind: type[Signed]) -> None:
    given, expected = vector(name)
    unsigned_here = {"status": 0, "side": 0} if kind is swaps.Match else {}
    assert _convert(kind, given | unsigned_here).signed_bytes().hex() == expected["serialized"]


def test_the_penalty_is_nested() -> None:
    given, expected = vector("penalty-serialization")
    assert _convert(account.PenaltyNote, {"penalty": given}).signed_bytes().hex() == expected["serialized"]


def test_order_prefix_and_the_end_of_a_limit() -> None:
    given, expected = vector("msg-prefix-serialization")
    tail, tail_expected = vector("msg-limit-tail")
    members = given | tail | {"side": 1, "ordersize": 7, "coins": []}
    order = _convert(orders.PlaceLimit, members)
    assert order.prefix_bytes().hex() == expected["serialized"]
    middle = "00" + "01" + (7).to_bytes(8).hex()
    assert order.signed_bytes().hex() == expected["serialized"] + middle + tail_expected["serialized"]


def test_signed_notes_of_reputation() -> None:
    reputation = account.Reputation(bonded_tier=-1, penalties=2, score=-3)
    assert account.ScoreChange(reputation=reputation).signed_bytes().hex() == "ff" * 8 + "0002" + "fffffffd"
    change = account.TierChange(tier=-2, reputation=reputation, reason="é")
    assert change.signed_bytes() == raw("fffffffffffffffe") + "é".encode()
    expired = account.BondExpired(account_id=Hex(raw(ID)), asset_id=2, coin_id=Hex(b"c"), tier=1, reputation=reputation)
    assert expired.signed_bytes() == raw(ID) + raw("00000002") + b"c" + raw("0000000000000001")


def test_bond_results_sign_what_the_reference_says() -> None:
    answer = account.PreValidateBondResult(account_id=Hex(raw(ID)), asset_id=2, amount=3, expiry=4)
    assert (
        answer.signed_bytes(b"tx") == raw(ID) + raw("00000002") + raw("0000000000000003" + "0000000000000004") + b"tx"
    )
    posted = account.PostBondResult(
        account_id=Hex(raw(ID)),
        asset_id=2,
        amount=3,
        expiry=4,
        strength=1,
        bond_id=Hex(b"bond"),
        reputation=account.Reputation(bonded_tier=1, penalties=0, score=0),
    )
    assert posted.signed_bytes() == raw(ID) + b"bond"


def test_market_maker_snapshot() -> None:
    level = book.SnapshotLevel(rate=1, quantity=2)
    note = book.EpochSnapshot(
        market="ltc_btc",
        base=2,
        quote=0,
        epoch=3,
        epoch_ms=4,
        account_id=Hex(raw(ID)),
        buys=[level],
        sells=[],
        best_buy=5,
        best_sell=6,
    )
    numbers = (3, 4)
    head = raw("00000002" + "00000000") + b"".join(number.to_bytes(8) for number in numbers) + raw(ID)
    best = (5).to_bytes(8) + (6).to_bytes(8)
    assert note.signed_bytes() == head + best + raw("0001") + (1).to_bytes(8) + (2).to_bytes(8) + raw("0000")


def test_signatures_of_the_vectors() -> None:
    given, expected = vector("connect-signature")
    key = PrivateKey(raw(given["privkey"]))
    assert signing.sign(key, raw(given["serialized"])).hex() == expected["sig"]
    given, expected = vector("revoke-order-signature")
    note = signing.signed(
        PrivateKey(raw(given["server_privkey"])), orders.RevokeOrder(order_id=Hex(raw(given["orderid"])))
    )
    assert note.sig.hex() == expected["sig"]


def test_signatures_are_checked_over_the_exact_bytes() -> None:
    key = PrivateKey(bytes(31) + b"\7")
    message = signing.signed(key, swaps.RevokeMatch(order_id=Hex(raw(ID)), match_id=Hex(raw(ID))))
    assert signing.check(key.public, message.signed_bytes(), message.sig)
    assert not signing.check(key.public, message.signed_bytes() + b"\0", message.sig)
    assert not signing.check(key.public, message.signed_bytes(), b"")
    assert not signing.check(b"not a key", message.signed_bytes(), message.sig)


TRADE = {
    "sig": SIG,
    "accountid": ID,
    "base": 42,
    "quote": 0,
    "ordertype": 1,
    "tclient": 1_700_000_000_123,
    "tserver": 0,
    "com": ID,
    "side": 2,
    "ordersize": 300_000_000,
    "coins": [{"coinid": "11" * 36, "pubkeys": ["02" * 33], "sigs": [SIG], "redeem": ""}],
    "address": "bc1qq3wc0u7x0nezw3hfjkh45ffk09gm4ghl0k7dwe",
}
MATCH = {
    "sig": SIG,
    "orderid": ID,
    "matchid": ID,
    "qty": 100_000_000,
    "rate": 25_000,
    "tserver": 1_700_000_020_000,
    "address": "a",
    "feeratebase": 10,
    "feeratequote": 12,
    "status": 0,
    "side": 0,
}
SPOT = {
    "stamp": 1,
    "baseID": 42,
    "quoteID": 0,
    "rate": 2,
    "bookVolume": 0,
    "change24": 0.5,
    "vol24": 3,
    "high24": 4,
    "low24": 5,
}
REPUTATION = {"bondedTier": 1, "penalties": 0, "score": 0}
UNIT = {"atomicUnit": "atoms", "conventional": {"unit": "DCR", "conversionFactor": 100_000_000}}
BOOK_ORDER = {"seq": 8, "marketid": "m", "oid": ID, "side": 2, "qty": 3, "rate": 4, "tif": 1, "time": 5}
RATES = {"highRate": 0, "lowRate": 0, "startRate": 0, "endRate": 0}
REPORT = {"marketid": "m", "epoch": 1, "baseFeeRate": 2, "quoteFeeRate": 3, "matchSummary": [[25_000, -3]]}
VOLUMES = {"startStamp": 1, "endStamp": 2, "matchVolume": 3, "quoteVolume": 4}

SAMPLES: dict[str, tuple[Any, Any]] = {
    "config": (
        None,
        {
            "apiver": 3,
            "pubkey": "02" * 33,
            "cancelmax": 0.95,
            "btimeout": 720_000,
            "assets": [
                {
                    "symbol": "dcr",
                    "id": 42,
                    "version": 0,
                    "maxfeerate": 10,
                    "swapconf": 4,
                    "unitinfo": UNIT | {"denominations": [], "feeRateDenom": "B"},
                }
            ],
            "markets": [
                {
                    "name": "dcr_btc",
                    "base": 42,
                    "quote": 0,
                    "epochlen": 20_000,
                    "lotsize": 100_000_000,
                    "ratestep": 100,
                    "buybuffer": 1.25,
                    "parcelSize": 4,
                    "status": {"startepoch": 85_000_000},
                }
            ],
            "binSizes": ["24h", "1h", "5m"],
            "bondAssets": {"dcr": {"version": 0, "id": 42, "confs": 1, "amount": 10_000_000}},
            "DEV_bondExpiry": 2_592_000,
            "penaltyThreshold": 20,
            "maxScore": 60,
        },
    ),
    "healthy": (None, True),
    "spots": (None, [SPOT]),
    "candles": (
        {"baseID": 42, "quoteID": 0, "binSize": "5m", "numCandles": 50},
        {
            name: [1]
            for name in (
                *("startStamps", "endStamps", "matchVolumes", "quoteVolumes"),
                *("highRates", "lowRates", "startRates", "endRates"),
            )
        },
    ),
    "fee_rate": (42, 10),
    "price_feed": (None, {}),
    "orderbook": (
        {"base": 42, "quote": 0},
        {
            "marketid": "dcr_btc",
            "seq": 1,
            "epoch": 2,
            "orders": [BOOK_ORDER],
            "baseFeeRate": 3,
            "quoteFeeRate": 4,
            "recentMatches": [[25_000, -100, 5]],
        },
    ),
    "unsub_orderbook": ({"marketid": "m"}, True),
    "prevalidatebond": (
        {"sig": SIG, "acctPubKey": "02" * 33, "assetID": 42, "version": 0, "tx": "01"},
        {"sig": SIG, "accountID": ID, "assetID": 42, "amount": 1, "expiry": 2},
    ),
    "postbond": (
        {"sig": SIG, "acctPubKey": "02" * 33, "assetID": 42, "version": 0, "coinid": "01"},
        {
            "sig": SIG,
            "accountID": ID,
            "assetID": 42,
            "amount": 1,
            "expiry": 2,
            "strength": 1,
            "bondID": "01",
            "reputation": REPUTATION,
        },
    ),
    "connect": (
        {"sig": SIG, "accountid": ID, "apiver": 0, "timestamp": 1},
        {
            "sig": SIG,
            "activeorderstatuses": [{"id": ID, "status": 2}],
            "activematches": [MATCH | {"sig": ""}],
            "score": -4,
            "activeBonds": [{"version": 0, "amount": 1, "expiry": 2, "coinID": "01", "assetID": 42, "strength": 1}],
            "reputation": REPUTATION,
        },
    ),
    "match_status": (
        [{"base": 42, "quote": 0, "matchid": ID}],
        [{"matchid": ID, "status": 1, "makercontract": "01", "makerswap": "02", "active": True, "makertx": "03"}],
    ),
    "order_status": ([{"base": 42, "quote": 0, "orderid": ID}], [{"id": ID, "status": 2}]),
    "explain": (
        {"count": 3},
        {
            "reputation": REPUTATION,
            "penaltyThreshold": 20,
            "cancelScore": -5,
            "outcomes": [
                {
                    "sig": SIG,
                    "accountid": ID,
                    "outcome": 8,
                    "name": "preimage miss",
                    "score": -2,
                    "counts": True,
                    "kind": "order",
                    "link": ID,
                    "market": "ltc_btc",
                    "epoch": 7,
                    "orders": [ID],
                    "stamp": 1,
                }
            ],
        },
    ),
    "limit": (TRADE | {"rate": 25_000, "timeinforce": 1}, {"sig": SIG, "orderid": ID, "tserver": 1}),
    "market": (TRADE | {"ordertype": 2}, {"sig": SIG, "orderid": ID, "tserver": 1}),
    "cancel": (
        {name: TRADE[name] for name in ("sig", "accountid", "base", "quote", "tclient", "tserver", "com")}
        | {"ordertype": 3, "targetid": ID},
        {"sig": SIG, "orderid": ID, "tserver": 1},
    ),
    "init": (
        {"sig": SIG, "orderid": ID, "matchid": ID, "coinid": "01", "contract": "02"},
        {"matchid": ID, "sig": SIG, "address": ""},
    ),
    "redeem": (
        {"sig": SIG, "orderid": ID, "matchid": ID, "coinid": "01", "secret": "02"},
        {"matchid": ID, "sig": SIG, "address": ""},
    ),
    "subscribe_mm_snapshots": ({"marketid": "m", "unsub": True}, True),
    "preimage": ({"orderid": ID, "commit": ID, "csum": ID}, {"pimg": ID}),
    "match": ([MATCH], [{"matchid": ID, "sig": SIG, "address": "bc1q"}]),
    "audit": (
        {"sig": SIG, "orderid": ID, "matchid": ID, "timestamp": 1, "coinid": "01", "contract": "02", "txdata": "03"},
        {"matchid": ID, "sig": SIG, "address": ""},
    ),
    "redemption": (
        {"sig": SIG, "orderid": ID, "matchid": ID, "coinid": "01", "secret": "02", "timestamp": 1},
        {"matchid": ID, "sig": SIG, "address": ""},
    ),
    "book_order": (BOOK_ORDER, None),
    "unbook_order": ({"seq": 1, "marketid": "m", "oid": ID}, None),
    "update_remaining": ({"seq": 1, "marketid": "m", "oid": ID, "remaining": 2}, None),
    "epoch_order": (BOOK_ORDER | {"com": ID, "otype": 1, "epoch": 85_000_000}, None),
    "match_proof": (
        {"marketid": "m", "epoch": 1, "preimages": [ID], "misses": [], "csum": ID, "seed": ""},
        None,
    ),
    "epoch_report": (REPORT | VOLUMES | RATES, None),
    "epoch_ledger": ({"marketid": "m", "record": {"kind": "epoch"}, "sig": SIG}, None),
    "suspension": ({"marketid": "m", "seq": 3, "finalepoch": 1, "persistbook": False}, None),
    "resumption": ({"marketid": "m", "resumetime": 3, "startepoch": 1}, None),
    "price_update": (SPOT, None),
    "notify": ("text", None),
    "nomatch": ({"orderid": ID}, None),
    "revoke_order": ({"sig": SIG, "orderid": ID}, None),
    "revoke_match": ({"sig": SIG, "orderid": ID, "matchid": ID}, None),
    "counterparty_address": ({"sig": SIG, "orderid": ID, "matchid": ID, "address": "a"}, None),
    "tierchange": ({"sig": SIG, "tier": 1, "reputation": REPUTATION, "reason": "r"}, None),
    "scorechanged": ({"sig": SIG, "reputation": REPUTATION}, None),
    "bondexpired": (
        {"sig": SIG, "accountID": ID, "assetid": 42, "coinid": "01", "tier": 0, "reputation": REPUTATION},
        None,
    ),
    "penalty": ({"sig": SIG, "penalty": {"rule": 1, "timestamp": 2, "details": "d"}}, None),
    "mm_epoch_snapshot": (
        {
            "sig": SIG,
            "marketid": "m",
            "base": 42,
            "quote": 0,
            "epochIdx": 1,
            "epochDur": 2,
            "accountID": ID,
            "buyOrders": [{"rate": 1, "qty": 2}],
            "sellOrders": [],
            "bestBuy": 1,
            "bestSell": 0,
        },
        None,
    ),
}


def test_every_route_has_a_sample() -> None:
    assert set(SAMPLES) == set(ROUTES)


@pytest.mark.parametrize("name", ROUTES)
def test_every_payload_and_result_has_exactly_the_references_members(name: str) -> None:
    payload, result = SAMPLES[name]
    route = ROUTES[name]
    for kind, sample in ((route.payload, payload), (route.result, result)):
        assert json.loads(encode(decode(json.dumps(sample), kind))) == sample


def test_members_that_are_empty_are_left_out_where_the_reference_says_so() -> None:
    result = decode(json.dumps({"matchid": ID, "status": 0, "active": False, "secret": ""}), status.MatchStatusResult)
    assert json.loads(encode(result)) == {"matchid": ID, "status": 0, "active": False}
    cancel = book.EpochOrder(order_id=Hex(raw(ID)), commitment=Hex(raw(ID)), order_type=3, epoch=1, target=Hex(raw(ID)))
    assert json.loads(encode(cancel)) == {"oid": ID, "com": ID, "otype": 3, "epoch": 1, "target": ID}
    assert json.loads(encode(config.MarketStatus(start_epoch=1))) == {"startepoch": 1}
    assert json.loads(encode(book.Suspension(market="m", final_epoch=1, persist_book=True))) == {
        "marketid": "m",
        "finalepoch": 1,
        "persistbook": True,
    }


@pytest.mark.parametrize("name", ROUTES)
def test_no_payload_accepts_another_kind_of_value(name: str) -> None:
    route = ROUTES[name]
    if route.payload in (type(None), int, str):
        return
    for wrong in ("5", '"text"', "true"):
        with pytest.raises(DecodeError, match="Expected"):
            decode(wrong, route.payload)


def test_orders_beyond_64_bits_do_not_parse_but_up_to_it_they_do() -> None:
    limit = TRADE | {"rate": 2**64 - 1, "timeinforce": 1, "ordersize": 2**64 - 1}
    assert _convert(orders.PlaceLimit, limit).signed_bytes()
    for name in ("rate", "ordersize"):
        with pytest.raises(DecodeError, match="out of range"):
            _convert(orders.PlaceLimit, limit | {name: 2**64})


def test_who_originates_what() -> None:
    by_direction = {
        direction: {name for name, route in ROUTES.items() if route.direction is direction} for direction in Direction
    }
    assert by_direction[Direction.TO_CLIENT] == {"preimage", "match", "audit", "redemption"}
    assert len(by_direction[Direction.TO_SERVER] - {"explain"}) == 19, "the reference's, and one of ours"
    assert len(by_direction[Direction.NOTIFICATION] - {"epoch_ledger"}) == 19, "the reference's, and one of ours"
    assert {name for name in by_direction[Direction.TO_SERVER] if ROUTES[name].auth} == {
        *("match_status", "order_status", "limit", "market", "cancel", "init", "redeem", "subscribe_mm_snapshots"),
        "explain",
    }
    assert ROUTES["audit"].timeout_ms is None
    assert ROUTES["match"].timeout_ms == 30_000
