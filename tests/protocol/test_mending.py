"""What Go's JSON decoder takes is taken: names in any case, members that nobody knows, null for an empty list."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlock.protocol.codes import RpcError
from twinlock.protocol.envelope import decode_frame, decode_payload
from twinlock.protocol.messages.account import Connect
from twinlock.protocol.messages.book import Candles
from twinlock.protocol.messages.orders import PlaceLimit

ORDER = {
    "sig": "30",
    "accountid": "ab" * 32,
    "base": 2,
    "quote": 0,
    "ordertype": 1,
    "tclient": 1,
    "tserver": 7,
    "com": "cd" * 32,
    "side": 2,
    "ordersize": 5,
    "coins": [{"coinid": "00", "pubkeys": ["02"], "sigs": ["30"], "redeem": "51"}],
    "address": "here",
    "options": {"postonly": True, "expiry": 9},
    "rate": 3,
    "timeinforce": 1,
}


def recased(value: object, cases: st.DataObject) -> object:
    if isinstance(value, dict):
        change = cases.draw(st.sampled_from((str.upper, str.title, str.lower)))
        return {change(name): recased(inner, cases) for name, inner in value.items()} | {"Unknown": {"coins": [None]}}
    return [recased(inner, cases) for inner in value] if isinstance(value, list) else value


@given(st.data())
def test_names_match_in_any_case_and_unknown_members_are_passed_over(cases: st.DataObject) -> None:
    plain = decode_payload(json.dumps(ORDER).encode(), PlaceLimit)
    assert decode_payload(json.dumps(recased(ORDER, cases), indent=1).encode(), PlaceLimit) == plain
    assert (plain.server_time, plain.coins[0].redeem, plain.asked.expiry) == (7, b"\x51", 9)


def test_of_several_members_of_one_name_the_last_counts() -> None:
    found = decode_payload(b'{"accountid":"01","AccountID":"02","timestamp":1}', Connect)
    assert found.account_id == b"\2"


def test_an_envelope_keeps_the_bytes_of_its_payload() -> None:
    message = decode_frame(b'{"Type":1,"ROUTE":"config","Id":7,"Payload":{"a" : 1.50},"extra":null}')
    assert (message.route, message.id, message.payload) == ("config", 7, b'{"a" : 1.50}')


def test_null_is_an_empty_list_and_nothing_else() -> None:
    assert decode_payload(b'{"startStamps":null}', Candles).start_stamps == []
    for payload in (b'{"accountid":null,"timestamp":1}', b'{"accountid":"01","TimeStamp":null}'):
        with pytest.raises(RpcError):
            decode_payload(payload, Connect)


@given(st.binary(max_size=60))
def test_anything_else_is_refused_as_before(data: bytes) -> None:
    with pytest.raises(RpcError):
        decode_payload(b"{" + data, PlaceLimit)
