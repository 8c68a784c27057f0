"""What the rows of the method table do: server, headers, scripts, fees. A handler takes who asks and checked arguments.

Plain functions answer from the view without a pause; coroutines ask the node.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from functools import partial
from inspect import isawaitable
from typing import Any

import msgspec

from twinlock.indexer.banner import SOFTWARE
from twinlock.indexer.banner import banner as banner_text
from twinlock.indexer.caller import Caller
from twinlock.indexer.methods import HISTORY_TOO_LARGE, VERSIONS, RpcError, Version, bad_request, shown
from twinlock.indexer.view import LARGE, Answer, View

MAX_HEADERS = 2016
"""Headers of one answer; wallets refuse servers that offer fewer."""


SCRIPTHASH = "blockchain.scripthash.subscribe"
"""The name of the notification."""

_HEADER = 80
"""Bytes of a header without an auxiliary proof of work."""

_PER_ENTRY, _PER_HEADER = 0.001, 0.02
"""What each entry of a history and each header add to the cost of a question."""

_CUT_SINCE = (1, 4, 1)
"""From this version on a header that is proven under a checkpoint comes without its auxiliary proof of work."""


_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")


def _version(text: Any) -> Version:
    if not isinstance(text, str) or not _VERSION.fullmatch(text):
        raise bad_request(f"invalid protocol version: {shown(text)}")
    return tuple(int(part) for part in text.split("."))


def negotiate(asked: Any) -> Version:
    """The lower one of both sides' highest versions. Raises RpcError when it is below either side's lowest.

    >>> negotiate(["1.4", "1.6"]), negotiate("1.4.2"), negotiate(["1.3", "1.4.5"])
    ((1, 6), (1, 4, 2), (1, 4, 5))
    """
    low, high = asked if isinstance(asked, list) and len(asked) == 2 else (asked, asked)
    chosen = min(_version(high), VERSIONS[-1])
    if chosen < max(_version(low), VERSIONS[0]):
        raise bad_request(f"unsupported protocol version: {shown(asked)}")
    return chosen


def server_version(session: Caller, client_name: Any, protocol_version: Any) -> list[str]:
    if session.version:
        raise bad_request("server.version already sent")
    try:
        session.version = negotiate(protocol_version)
    except RpcError:
        session.close_after_reply()
        raise
    session.client_name = str(client_name)[:100]
    if session.env.drop_client and re.match(session.env.drop_client, session.client_name):
        session.close_after_reply()
        raise bad_request(f"unsupported client: {session.client_name}")
    return [SOFTWARE, ".".join(map(str, session.version))]


async def banner(session: Caller) -> str:
    return await banner_text(session.env, session.daemon, session.group == "tor")


def donation_address(session: Caller) -> str:
    return session.env.donation_address


def features(session: Caller) -> dict[str, Any]:
    return {
        "genesis_hash": session.view.index.block_hash(0)[::-1].hex(),
        "hosts": {},
        "protocol_min": ".".join(map(str, VERSIONS[0])),
        "protocol_max": ".".join(map(str, VERSIONS[-1])),
        "server_version": SOFTWARE,
        "hash_function": "sha256",
        "pruning": None,
        "services": [str(service) for service in session.env.report_services],
        **session.shared.peers.features(),
    }


def peers(session: Caller) -> list[list[Any]]:
    return session.shared.peers.listed(session.group == "tor")


async def add_peer(session: Caller, features: Any) -> bool:
    return await session.shared.peers.add_peer(features, session.address)


def ping(_: Caller) -> None:
    return None


# -- headers


def _proven(session: Caller, answer: dict[str, Any], height: int, cp_height: int) -> Any:
    """The answer with a header's proof under a checkpoint; later, where many headers are to be hashed first."""
    if session.view.headers_ready(cp_height):
        return answer | _checkpoint(session, height, cp_height)
    return _proven_later(session, answer, height, cp_height)


async def _proven_later(session: Caller, answer: dict[str, Any], height: int, cp_height: int) -> dict[str, Any]:
    await session.view.prepare_headers(min(cp_height, session.view.index.height))
    return answer | _checkpoint(session, height, cp_height)


def _checkpoint(session: Caller, height: int, cp_height: int) -> dict[str, Any]:
    tip = session.view.index.height
    if not height <= cp_height <= tip:
        raise bad_request(f"require header height {height:,d} <= cp_height {cp_height:,d} <= chain height {tip:,d}")
    branch, root = session.view.header_branch(height, cp_height)
    return {"branch": [node[::-1].hex() for node in branch], "root": root[::-1].hex()}


def block_header(session: Caller, height: int, cp_height: int) -> Any:
    if height > session.view.index.height:
        raise bad_request(f"height {height:,d} out of range")
    header = session.view.index.header(height)
    if not cp_height:
        return header.hex()
    shown = header[: _length(session, cp_height)].hex()
    return _proven(session, {"header": shown}, height, cp_height)


def _length(session: Caller, cp_height: int) -> int | None:
    """How much of each header is shown; None for all of it."""
    return _HEADER if cp_height and session.version >= _CUT_SINCE else None


def block_headers(session: Caller, start_height: int, count: int, cp_height: int) -> Any:
    index = session.view.index
    end = min(start_height + min(count, MAX_HEADERS), index.height + 1)
    count = max(0, end - start_height)
    session.charge(_PER_HEADER * count)
    joined = index.headers(start_height, end) if count else b""
    if session.version >= (1, 6) or len(joined) != count * _HEADER:
        shown = _length(session, cp_height)
        headers = [index.header(height)[:shown] for height in range(start_height, end)]
        joined = b"".join(headers)
    answer: dict[str, Any] = {"count": count, "max": MAX_HEADERS}
    if session.version >= (1, 6):
        answer["headers"] = [header.hex() for header in headers]
    else:
        answer["hex"] = joined.hex()
    return _proven(session, answer, end - 1, cp_height) if count and cp_height else answer


def tip(view: View) -> dict[str, Any]:
    """The newest block, with exactly the two members that wallets insist on."""
    height = view.index.height
    return {"height": height, "hex": view.index.header(height).hex()}


def headers_tip(session: Caller) -> dict[str, Any]:
    return tip(session.view)


def headers_subscribe(session: Caller) -> dict[str, Any]:
    session.follow_headers(True)
    return tip(session.view)


# -- scripts


_SHORTEST_ENTRY = 99
"""Bytes of a history's entry, by the custom of Electrum servers' limits."""

_ENTRY = 100
"""Bytes that an entry of an answer takes, about."""


def get_balance(session: Caller, script: tuple[str, bytes]) -> dict[str, int]:
    return session.view.balance(script[1])


def get_history(session: Caller, script: tuple[str, bytes], from_height: int, to_height: int) -> Any:
    view = session.view
    count = view.index.history_size(script[1], from_height, to_height)
    if count >= (session.env.max_send - 100) // _SHORTEST_ENTRY:
        raise RpcError(HISTORY_TOO_LARGE, "history too large")
    return _soon(session, count, view.history(script[1], from_height, to_height))


def _soon(session: Caller, entries: int, answer: Answer) -> Any:
    """An answer of so many entries; later, where it takes so long that others would notice."""
    return session.shared.large.ask(session, _ENTRY * entries, answer) if entries > LARGE else answer()


def get_mempool(session: Caller, script: tuple[str, bytes]) -> list[dict[str, Any]]:
    return session.view.unconfirmed(script[1])


def list_unspent(session: Caller, script: tuple[str, bytes]) -> Any:
    return _soon(session, session.view.index.history_size(script[1]), session.view.unspent(script[1]))


def status_of(session: Caller, script: bytes) -> str | None:
    """The status, charged by how much has to be hashed for it."""
    if session.env.limits_cost and not session.view.status_known(script):
        session.charge(_PER_ENTRY * session.view.index.history_size(script))
    return session.view.status(script)


def status_soon(session: Caller, script: bytes) -> Any:
    """The status; later, where it takes so long that others would notice."""
    if not session.view.status_known(script) and session.view.large(script):
        return _status_later(session, script)
    return status_of(session, script)


async def _status_later(session: Caller, script: bytes) -> str | None:
    await session.view.prepare_status(script, partial(session.shared.large.ask, session, 0))
    return status_of(session, script)


def subscribe(session: Caller, script: tuple[str, bytes]) -> Any:
    return subscribe_as(SCRIPTHASH, session, script)


def subscribe_as(method: str, session: Caller, script: tuple[str, bytes]) -> Any:
    """Subscribe, with notifications of that name. Gives the status, or what will give it."""
    status = status_soon(session, script[1])
    if isawaitable(status):
        return _subscribe_later(method, session, script, status)
    session.subscriptions.watch(method, *script, status)
    return status


async def _subscribe_later(
    method: str, session: Caller, script: tuple[str, bytes], status: Awaitable[str | None]
) -> str | None:
    known = await status
    session.subscriptions.watch(method, *script, known)
    return known


def unsubscribe(session: Caller, script: tuple[str, bytes]) -> bool:
    return session.subscriptions.unwatch(SCRIPTHASH, script[0])


# -- fees


def _rate(value: float) -> msgspec.Raw:
    """Coins per 1,000 vbytes with eight decimals: not every wallet reads 1e-05. -1 stays what it is."""
    return msgspec.Raw(b"-1" if value == -1 else f"{value:.8f}".encode())


async def estimate_fee(session: Caller, number: int, mode: str | None = None) -> msgspec.Raw:
    return _rate(await session.shared.estimate_fee(number, mode))


async def relay_fee(session: Caller) -> msgspec.Raw:
    return _rate((await session.daemon.call("getnetworkinfo"))["relayfee"])


async def mempool_info(session: Caller) -> dict[str, msgspec.Raw]:
    info = await session.daemon.call("getmempoolinfo")
    least = info["minrelaytxfee"]
    return {
        "mempoolminfee": _rate(info["mempoolminfee"]),
        "minrelaytxfee": _rate(least),
        "incrementalrelayfee": _rate(info.get("incrementalrelayfee", least)),
    }


def fee_histogram(session: Caller) -> list[tuple[float, int]]:
    return session.view.mempool.histogram()
