"""Answers are of their type to the letter, or the server is named."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from twinlock.electrum import methods
from twinlock.electrum.errors import LyingServerError
from twinlock.electrum.methods import Method, parse_version, version_text

HASH = "ab" * 32
HEADER = "00" * 80

GOOD: list[tuple[Method[Any], str]] = [
    (methods.HEADERS_SUBSCRIBE, f'{{"height":5,"hex":"{HEADER}"}}'),
    (methods.BLOCK_HEADERS, '{"count":0,"max":2016,"hex":""}'),
    (methods.BLOCK_HEADERS, f'{{"count":1,"max":2016,"headers":["{HEADER}"]}}'),
    (methods.SCRIPT_SUBSCRIBE, "null"),
    (methods.SCRIPT_SUBSCRIBE, f'"{HASH}"'),
    (methods.SCRIPT_HISTORY, f'[{{"tx_hash":"{HASH}","height":-1,"fee":200}},{{"tx_hash":"{HASH}","height":7}}]'),
    (methods.SCRIPT_UNSPENT, f'[{{"tx_hash":"{HASH}","height":0,"tx_pos":1,"value":5}}]'),
    (methods.MERKLE, f'{{"block_height":9,"pos":0,"merkle":["{HASH}"]}}'),
    (methods.ESTIMATE_FEE, "-1"),
    (methods.ESTIMATE_FEE, "1e-05"),
    (methods.TRANSACTION, '"00ff"'),
    (methods.FEATURES, f'{{"genesis_hash":"{HASH}","pruning":null,"hosts":{{}},"more":[1]}}'),
]

BAD: list[tuple[Method[Any], str]] = [
    (methods.HEADERS_SUBSCRIBE, f'{{"height":5.0,"hex":"{HEADER}"}}'),
    (methods.HEADERS_SUBSCRIBE, f'{{"height":true,"hex":"{HEADER}"}}'),
    (methods.HEADERS_SUBSCRIBE, f'{{"height":-1,"hex":"{HEADER}"}}'),
    (methods.HEADERS_SUBSCRIBE, f'{{"height":5,"hex":"{HEADER[2:]}"}}'),
    (methods.SCRIPT_SUBSCRIBE, f'"{HASH.upper()}"'),
    (methods.SCRIPT_SUBSCRIBE, f'"{HASH}\\n"'),
    (methods.SCRIPT_HISTORY, f'[{{"tx_hash":"{HASH}","height":-2}}]'),
    (methods.SCRIPT_HISTORY, f'[{{"tx_hash":"{HASH}","height":"7"}}]'),
    (methods.SCRIPT_UNSPENT, f'[{{"tx_hash":"{HASH}","height":0,"tx_pos":1,"value":1e8}}]'),
    (methods.SCRIPT_UNSPENT, f'[{{"tx_hash":"{HASH}","height":0,"tx_pos":1,"value":-5}}]'),
    (methods.MERKLE, f'{{"block_height":9,"pos":0,"merkle":[{",".join([chr(34) + HASH + chr(34)] * 31)}]}}'),
    (methods.TRANSACTION, '"0"'),
    (methods.TRANSACTION, "null"),
    (methods.BROADCAST, '"done"'),
]


@pytest.mark.parametrize(("method", "text"), GOOD)
def test_answers_of_their_type_are_taken(method: Method[Any], text: str) -> None:
    method.decode(msgspec.Raw(text.encode()))


@pytest.mark.parametrize(("method", "text"), BAD)
def test_answers_of_another_type_name_the_liar(method: Method[Any], text: str) -> None:
    with pytest.raises(LyingServerError) as lie:
        method.decode(msgspec.Raw(text.encode()))
    assert (lie.value.code, lie.value.what, lie.value.fault) == ("electrum.lie.type", "type", "node")


@pytest.mark.parametrize("text", [b"null", b'"pong"', b"[" + b"{}," * 1000 + b"{}]"])
def test_the_answer_to_a_ping_is_not_looked_into(text: bytes) -> None:
    assert bytes(methods.PING.decode(msgspec.Raw(text))) == text


def test_fees_are_exact() -> None:
    assert methods.ESTIMATE_FEE.decode(msgspec.Raw(b"0.00012345")) == Decimal("0.00012345")


def test_versions_compare_as_numbers() -> None:
    assert parse_version("1.4") < parse_version("1.4.1") < parse_version("1.6") < parse_version("1.10")
    assert version_text(parse_version("1.4.2")) == "1.4.2"


@pytest.mark.parametrize("text", ["", "1.", "1.4.x", "-1.4", "1.4.1.1.1", "1.99999", "1.4 ", "\u0661.\u0664"])
def test_what_is_no_version_is_a_lie(text: str) -> None:
    with pytest.raises(LyingServerError):
        parse_version(text)
