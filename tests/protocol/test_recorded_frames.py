"""Frames that other programs exchanged (tests/vectors/recorded): we read each one and find its signature good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from twinlock.chain.coins import Network, coin
from twinlock.chain.families import family_of
from twinlock.chain.family import Family
from twinlock.protocol import envelope, routes
from twinlock.protocol.account import account_id
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.envelope import Message, MessageType
from twinlock.protocol.epoch import verify_proof
from twinlock.protocol.messages import account, book, orders, swaps
from twinlock.protocol.orders import accept, commit
from twinlock.protocol.routes import Direction, Route
from twinlock.protocol.signing import check
from twinlock.protocol.wire import Signed, decode

RECORDED = Path(__file__).parents[1] / "vectors" / "recorded"
SCENES = sorted(path.stem for path in RECORDED.glob("*.jsonl"))
WATCHER = "watch"  # sends bad frames on purpose, to see the answers


@dataclass
class Frame:
    """One frame, decoded; a response carries the route and payload of its request."""

    who: str
    conn: int
    from_server: bool
    message: Message
    route: Route[Any, Any] | None = None
    asked: Any = None
    value: Any = None
    error: RpcError | None = None


@dataclass
class Scene:
    server_key: bytes
    accounts: dict[bytes, bytes]
    transactions: dict[str, tuple[str, bytes]]
    frames: list[Frame] = field(default_factory=list)
    logins: dict[int, bytes] = field(default_factory=dict)

    def of(self, kind: type[Any]) -> Iterator[Frame]:
        return (frame for frame in self.frames if isinstance(frame.value, kind))


@cache
def scene(name: str) -> Scene:
    lines = [json.loads(line) for line in (RECORDED / f"{name}.jsonl").read_text().splitlines()]
    about = lines[0]
    played = Scene(
        bytes.fromhex(about["server_key"]),
        {bytes.fromhex(id_): bytes.fromhex(key) for id_, key in about["accounts"].items()},
        {txid: (tx["coin"], bytes.fromhex(tx["raw"])) for txid, tx in about["transactions"].items()},
    )
    pending: dict[tuple[int, bool, int], tuple[Route[Any, Any] | None, Any]] = {}
    for line in lines:
        if line["kind"] == "frame" and (frame := _read(line, pending)):
            played.frames.append(frame)
    return played


def _read(
    line: dict[str, Any], pending: dict[tuple[int, bool, int], tuple[Route[Any, Any] | None, Any]]
) -> Frame | None:
    from_server = line["from"] == "server"
    try:
        message = envelope.decode_frame(line["text"])
    except envelope.FrameError:
        assert line["who"] == WATCHER and not from_server, line["text"]
        return None
    frame = Frame(line["who"], line["conn"], from_server, message)
    if message.type is MessageType.RESPONSE:
        frame.route, frame.asked = pending.pop((frame.conn, not from_server, message.id), (None, None))
        kind = frame.route.result if frame.route else Any
        try:
            frame.value = envelope.decode_result(message.payload, kind)
        except RpcError as error:
            assert (error.rpc_code in set(ErrorCode) and error.rpc_code is not ErrorCode.PARSE) or line[
                "who"
            ] == WATCHER, line
            frame.error = error
        return frame
    frame.route = routes.ROUTES.get(message.route)
    try:
        assert frame.route is not None, message.route
        frame.value = envelope.decode_payload(message.payload, frame.route.payload)
        assert (frame.route.direction is Direction.TO_SERVER) is not from_server
    except (AssertionError, RpcError):
        assert line["who"] == WATCHER and not from_server, line["text"]
    if message.type is MessageType.REQUEST:
        pending[frame.conn, from_server, message.id] = (frame.route, frame.value)
    return frame


def _family(symbol: str) -> Family:
    return family_of(coin(symbol, Network.REGTEST))


def test_there_are_recordings() -> None:
    assert SCENES


@pytest.mark.parametrize("name", SCENES)
def test_account_ids_follow_from_keys(name: str) -> None:
    assert all(account_id(key) == id_ for id_, key in scene(name).accounts.items())


@pytest.mark.parametrize("name", SCENES)
def test_every_frame_is_encoded_back_to_the_same_members(name: str) -> None:
    """Nothing that the other programs send is lost on us: each member survives decoding and encoding."""
    for frame in scene(name).frames:
        if frame.value is None or frame.route is None or frame.error:
            continue
        raw = json.loads(frame.message.payload)
        ours = msgspec.json.decode(_encoded(frame.value))
        assert _within(raw["result"] if frame.message.type is MessageType.RESPONSE else raw, ours), (raw, ours)


def _encoded(value: Any) -> bytes:
    frame = envelope.notification("x", value)
    return frame[len(b'{"type":3,"route":"x","payload":') : -len(b',"sig":""}')]


def _within(theirs: Any, ours: Any) -> bool:
    """Whether every member of theirs is in ours, but for what is empty, absent by default, or spelled null."""
    if isinstance(theirs, dict):
        return all(_within(value, ours.get(name)) for name, value in theirs.items())
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(theirs) == len(ours) and all(map(_within, theirs, ours))
    return theirs == ours or (not theirs and not ours)


@pytest.mark.parametrize("name", SCENES)
def test_the_server_signed_everything_that_it_must(name: str) -> None:
    played = scene(name)
    for frame in played.frames:
        if not frame.from_server or frame.error:
            continue
        for message, signature in _server_signed(frame):
            assert check(played.server_key, message, signature), frame.message


def _server_signed(frame: Frame) -> Iterator[tuple[bytes, bytes]]:
    """(bytes, signature) of everything in a frame of the server."""
    value, asked = frame.value, frame.asked
    if isinstance(value, account.PreValidateBondResult):
        yield value.signed_bytes(asked.tx), value.sig
    elif isinstance(value, orders.OrderResult):
        yield msgspec.structs.replace(asked, server_time=value.server_time).signed_bytes(), value.sig
    elif isinstance(value, account.ConnectResult | swaps.Acknowledgement):
        yield asked.signed_bytes(), value.sig
    elif isinstance(value, Signed):
        yield value.signed_bytes(), value.sig
    elif isinstance(value, list) and value and isinstance(value[0], swaps.Match):
        yield from ((match.signed_bytes(), match.sig) for match in value)


@pytest.mark.parametrize("name", SCENES)
def test_the_clients_signed_everything_that_they_must(name: str) -> None:
    played = scene(name)
    for frame in played.frames:
        if frame.from_server or frame.who == WATCHER or frame.error:
            continue
        for message, signature in _client_signed(frame):
            assert any(check(key, message, signature) for key in played.accounts.values()) or not _known(
                played, frame
            ), frame.message


def _known(played: Scene, frame: Frame) -> bool:
    """Whether the frame's account has its key in the recording; discovery asks for accounts that never came to be."""
    return not isinstance(frame.value, account.Connect) or frame.value.account_id in played.accounts


def _client_signed(frame: Frame) -> Iterator[tuple[bytes, bytes]]:
    value, asked = frame.value, frame.asked
    if isinstance(value, Signed):
        yield value.signed_bytes(), value.sig
    elif isinstance(value, swaps.Acknowledgement):
        yield asked.signed_bytes(), value.sig
    elif isinstance(value, list) and value and isinstance(value[0], swaps.Acknowledgement):
        yield from ((match.signed_bytes(), ack.sig) for match, ack in zip(asked, value, strict=True))


@pytest.mark.parametrize("name", SCENES)
def test_orders_have_the_ids_that_the_server_gave_them(name: str) -> None:
    for frame in scene(name).of(orders.OrderResult):
        assert accept(frame.asked, frame.value.server_time).id == frame.value.order_id


@pytest.mark.parametrize("name", SCENES)
def test_preimages_open_their_commitments(name: str) -> None:
    for frame in scene(name).of(orders.PreimageResponse):
        assert commit(frame.value.preimage) == frame.asked.commitment


@pytest.mark.parametrize("name", SCENES)
def test_every_epoch_seen_in_full_has_an_honest_proof(name: str) -> None:
    """The first proof after subscribing may cover orders that the subscriber did not see."""
    by_epoch: dict[tuple[int, int], dict[bytes, bytes]] = {}
    whole: dict[int, int] = {}
    for frame in scene(name).frames:
        value = frame.value
        if isinstance(value, book.OrderBook):
            whole[frame.conn] = value.epoch + 1
        elif isinstance(value, book.EpochOrder):
            by_epoch.setdefault((frame.conn, value.epoch), {})[value.order_id] = value.commitment
        elif isinstance(value, book.MatchProof) and value.epoch >= whole[frame.conn]:
            seen = by_epoch.get((frame.conn, value.epoch), {})
            if seen:
                verify_proof(seen, value.preimages, value.misses, value.csum, value.seed)
            else:
                assert not (value.preimages or value.misses or value.csum or value.seed)


@pytest.mark.parametrize("name", SCENES)
def test_contracts_and_redemptions_are_what_the_chains_hold(name: str) -> None:
    played = scene(name)
    contracts = {frame.value.match_id + _hash_of(frame.value.contract): frame.value for frame in played.of(swaps.Init)}
    for frame in played.of(swaps.Audit):
        symbol, raw = played.transactions[_txid(frame.value.coin_id)]
        audit = _family(symbol).audit_contract(frame.value.contract, frame.value.coin_id, frame.value.tx)
        assert frame.value.tx == raw and audit.value > 0
    for frame in played.of(swaps.Redeem):
        symbol, raw = played.transactions[_txid(frame.value.coin_id)]
        family = _family(symbol)
        spent = family.spends(raw, family.parse_coin_id(frame.value.coin_id).index)
        for init in contracts.values():
            if family.parse_coin_id(init.coin_id) == spent:
                secret_hash = family.parse_contract(init.contract).secret_hash
                assert family.find_secret(raw, spent, secret_hash) == frame.value.secret


def _hash_of(contract: bytes) -> bytes:
    return contract[7:39]


def _txid(coin_id: bytes) -> str:
    return coin_id[:32][::-1].hex()


@pytest.mark.parametrize("name", SCENES)
def test_bonds_are_what_the_clients_asked_about(name: str) -> None:
    played = scene(name)
    for frame in played.of(account.PreValidateBondResult):
        family = _family("btc" if frame.value.asset_id == 0 else "ltc")
        terms = family.parse_bond_tx(frame.asked.tx)
        assert (terms.account_id, terms.amount) == (frame.value.account_id, frame.value.amount)


HTTP_RESULTS: dict[str, Route[Any, Any]] = {
    "/api/config": routes.CONFIG,
    "/api/healthy": routes.HEALTHY,
    "/api/spots": routes.SPOTS,
    "/api/candles": routes.CANDLES,
    "/api/orderbook": routes.ORDERBOOK,
}


def test_the_data_api_answers_what_the_socket_answers() -> None:
    answers = [json.loads(line) for line in (RECORDED / "dcrdex-http.jsonl").read_text().splitlines()[1:]]
    good = [answer for answer in answers if answer["status"] == 200]
    assert len(good) > len(HTTP_RESULTS)
    for answer in good:
        decode(answer["text"], HTTP_RESULTS["/".join(answer["path"].split("/")[:3])].result)
