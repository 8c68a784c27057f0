"""Frames: what is written, what is read, and what malformed ones are answered with."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.support import vector

from twinlock.protocol import envelope
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.envelope import FrameError, MessageType, decode_frame, decode_payload, decode_result
from twinlock.protocol.messages.book import OrderBook
from twinlock.protocol.messages.orders import PreimageResponse
from twinlock.protocol.wire import Hex, decode, encode


def test_decode_message_vector() -> None:
    given_, expected = vector("decode-message")
    message = decode_frame(given_["text"])
    assert message.type == expected["type"]
    assert message.route == expected["route"]
    assert message.id == expected["id"]
    assert decode_payload(message.payload, int) == expected["payload"]


def test_bytes_json_vector() -> None:
    given_, expected = vector("bytes-json")
    assert encode({"b": Hex.fromhex(given_["hex"])}).decode() == expected["json"]


def test_frames_are_written_as_the_reference_shows_them() -> None:
    assert envelope.request(3, "config") == b'{"type":1,"route":"config","id":3,"payload":null,"sig":""}'
    assert envelope.response(9001, PreimageResponse(preimage=Hex(b"\1"))) == (
        b'{"type":2,"id":9001,"payload":{"result":{"pimg":"01"}},"sig":""}'
    )
    assert envelope.error_response(17, RpcError(ErrorCode.FUNDING, "no funds")) == (
        b'{"type":2,"id":17,"payload":{"result":null,"error":{"code":36,"message":"no funds"}},"sig":""}'
    )
    assert envelope.notification("notify", 'a "note"') == (
        b'{"type":3,"route":"notify","payload":"a \\"note\\"","sig":""}'
    )


@given(st.integers(1, 2**64 - 1), st.text(max_size=20), st.text(max_size=20))
def test_requests_and_responses_survive_the_wire(number: int, route: str, payload: str) -> None:
    message = decode_frame(envelope.request(number, route, payload))
    assert (message.type, message.route, message.id) == (MessageType.REQUEST, route, number)
    assert decode_payload(message.payload, str) == payload
    answer = decode_frame(envelope.response(number, payload))
    assert (answer.type, answer.id) == (MessageType.RESPONSE, number)
    assert decode_result(answer.payload, str) == payload


@pytest.mark.parametrize(
    ("frame", "code", "reply_id"),
    [
        (b"", 1, 1),
        (b"{", 1, 1),
        (b"null", 1, 1),
        (b"[]", 1, 1),
        (b"\xff\xfe", 1, 1),
        (b'{"type":1,"route":"config"}', 1, 1),
        (b'{"type":1,"route":"config","id":0}', 1, 1),
        (b'{"type":2,"id":0,"payload":null}', 1, 1),
        (b'{"type":1,"route":"config","id":-1}', 1, 1),
        (b'{"type":1,"route":"config","id":1.0}', 1, 1),
        (b'{"type":1,"route":"config","id":"1"}', 1, 1),
        (b'{"type":1,"route":"config","id":18446744073709551616}', 1, 1),
        (b'{"type":"1","route":"config","id":1}', 1, 1),
        (b'{"type":1,"route":7,"id":1}', 1, 1),
        (b'{"type":1,"route":"config","id":1} {}', 1, 1),
        (b'{"type":0,"route":"config","id":5}', 46, 5),
        (b'{"type":4,"route":"config","id":5}', 46, 5),
        (b'{"route":"config","id":5}', 46, 5),
        (b"[" * 100_000, 1, 1),
        (b'{"type":1,"id":1,"payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 1, 1),
    ],
)
def test_malformed_frames_have_the_references_codes(frame: bytes, code: int, reply_id: int) -> None:
    with pytest.raises(FrameError) as caught:
        decode_frame(frame)
    assert (caught.value.rpc_code, caught.value.reply_id) == (code, reply_id)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(frame: bytes) -> None:
    try:
        decode_frame(frame)
    except FrameError as error:
        assert error.rpc_code in (ErrorCode.PARSE, ErrorCode.UNKNOWN_MESSAGE_TYPE)


def test_the_largest_id_and_unknown_members_pass() -> None:
    message = decode_frame(b'{"type":1,"route":"x","id":18446744073709551615,"extra":{"a":[1]}}')
    assert message.id == 2**64 - 1
    assert message.payload == b""


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"result":null,"error":{"code":36,"message":"no"}}', 36),
        (b'{"error":{"code":12345,"message":"later"}}', 12345),
        (b"null", 1),
        (b"", 1),
        (b'{"result":5}', 1),
        (b'{"result":{"pimg":null}}', 1),
        (b'{"result":{"pimg":"abc"}}', 1),
    ],
)
def test_results_that_are_errors_or_not_what_was_asked_for(payload: bytes, code: int) -> None:
    with pytest.raises(RpcError) as caught:
        decode_result(payload, PreimageResponse)
    assert caught.value.rpc_code == code


@pytest.mark.parametrize("text", ["null", '"0"', '"0g"', '"é0"', "5", "[]", '" 00"', '"0x00"', '"00 "'])
def test_what_is_not_hexadecimal(text: str) -> None:
    with pytest.raises(RpcError) as caught:
        decode_payload(f'{{"pimg":{text}}}'.encode(), PreimageResponse)
    assert caught.value.rpc_code is ErrorCode.PARSE


def test_upper_case_is_read_and_lower_case_written() -> None:
    value = decode('{"pimg":"AbCD"}', PreimageResponse)
    assert encode(value) == b'{"pimg":"abcd"}'
    assert decode('{"pimg":""}', PreimageResponse).preimage == b""


@pytest.mark.parametrize("number", ["1.0", "1e2", '"1"', "-1", "null", "true", "9223372036854775808"])
def test_integers_are_plain_and_in_range(number: str) -> None:
    frame = json.dumps({"marketid": "m", "epoch": 0, "orders": []})[:-1] + f', "seq": {number}}}'
    with pytest.raises(RpcError):
        decode_payload(frame.encode(), OrderBook)


def test_a_null_list_is_an_empty_list() -> None:
    book = decode('{"marketid":"m","seq":1,"epoch":2,"orders":null,"recentMatches":null}', OrderBook)
    assert book.orders == []
    assert book.recent_matches == []
