"""`twinlock audit`: what it says, what it ends with, and what it does with pages and limits."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from tests.server.test_ledger_replay import KEY, World

from twinlock.cli import audit as command
from twinlock.cli.audit import audit
from twinlock.protocol.ledger import LedgerError

LINES = World(3).live(8).lines


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(LINES))
    return path


def test_a_file_that_holds(file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    arguments = [str(file), "--key", KEY.public.hex(), "--json", "--save", str(kept)]
    result = CliRunner().invoke(audit, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["ok"] and told["pinned"]
    assert (told["markets"][0]["market"], told["markets"][0]["records"]) == ("ltc_btc", len(LINES))
    assert kept.read_bytes() == file.read_bytes()


def test_without_a_key_the_file_s_own_is_named(file: Path) -> None:
    result = CliRunner().invoke(audit, [str(file)])
    assert result.exit_code == 0
    assert f"signed by {KEY.public.hex()}" in result.output


def test_an_order_can_be_followed(file: Path) -> None:
    orders = [order for line in LINES for order in json.loads(line)["record"].get("orders", []) if "oid" in order]
    result = CliRunner().invoke(audit, [str(file), "--json", "--order", orders[0]["oid"]])
    assert json.loads(result.output)["found"][0]["order"] == orders[0]


@pytest.mark.parametrize("number", [0, 3, len(LINES) - 1])
def test_an_edit_is_named(file: Path, number: int) -> None:
    edited = [*LINES]
    edited[number] = edited[number].replace(b'"stamp":', b'"stamp":9', 1)
    file.write_bytes(b"".join(edited))
    result = CliRunner().invoke(audit, [str(file), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert (told["ok"], told["code"], told["record"]) == (False, "ledger.signature", number)
    plain = CliRunner().invoke(audit, [str(file)])
    assert plain.exit_code == 1
    assert f"record {number}" in plain.output


@pytest.mark.parametrize("content", [b"", b"no json\n", b'{"record":5,"sig":""}\n'])
def test_what_is_no_ledger(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    result = CliRunner().invoke(audit, [str(file), "--json"])
    assert (result.exit_code, json.loads(result.output)["ok"]) == (1, False)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert CliRunner().invoke(audit, [str(tmp_path / "nothing")]).exit_code == 1


def test_a_server_is_read_page_by_page_at_its_own_pace() -> None:
    asked: list[str] = []
    waits: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if len(asked) == 2:
            return httpx.Response(429, headers={"Retry-After": "3"})
        if request.url.path == "/api/config":
            return httpx.Response(200, json={"pubkey": KEY.public.hex(), "markets": [{"name": "ltc_btc"}]})
        assert request.url.path == "/api/ledger/ltc/btc"
        first = int(request.url.params["from"])
        return httpx.Response(200, content=b"".join(LINES[first : first + 4]))

    client = httpx.Client(transport=httpx.MockTransport(answer))
    key, lines = command.remote(client, "https://host:7232/", None, waits.append)
    run = command.Run("", None)
    run.replay(lines, key)
    assert run.auditors["ltc_btc"].records == len(LINES)
    assert waits == [3]
    assert len(asked) == 2 + -(-len(LINES) // 4) + 1


@pytest.mark.parametrize(
    ("header", "pause"), [("999999999", 60), ("Wed, 21 Oct 2026 07:28:00 GMT", 1), ("-5", 1), ("", 1)]
)
def test_no_server_makes_an_audit_wait_for_long(header: str, pause: int) -> None:
    waits: list[float] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        if not waits:
            return httpx.Response(429, headers={"Retry-After": header})
        return httpx.Response(200, json={"pubkey": KEY.public.hex(), "markets": []})

    command.remote(httpx.Client(transport=httpx.MockTransport(answer)), "https://host:7232", None, waits.append)
    assert waits == [pause]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"pubkey":5,"markets":[]}', b'{"pubkey":"02","markets":[{}]}'])
def test_what_is_no_exchange_is_refused(body: bytes) -> None:
    client = httpx.Client(transport=httpx.MockTransport(lambda _request: httpx.Response(200, content=body)))
    with pytest.raises(LedgerError, match="is no exchange"):
        command.remote(client, "https://host:7232", None, lambda _seconds: None)
