"""Where a first sync gets its blocks: read ahead by a thread of its own, in the order of the chain."""

from __future__ import annotations

import base64
import http.client
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from twinlock.indexer.daemon import DaemonGoneError
from twinlock.indexer.storage.seam import Spot

_AHEAD = 64
_TIMEOUT = 60.0


class RawBlock(NamedTuple):
    """A raw block, and where the node keeps it if that is known."""

    raw: bytes
    spot: Spot | None = None


class BlockSource(Protocol):
    """Gives blocks by their hash (display hex)."""

    def blocks(self, hashes: Sequence[str]) -> Iterator[RawBlock]: ...


class NodeSource:
    """Asks the node: by REST where it offers that, else by RPC."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        token = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        self._auth = {"Authorization": "Basic " + base64.b64encode(token).decode()}
        self._connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=_TIMEOUT)
        self._rest = True

    def blocks(self, hashes: Sequence[str]) -> Iterator[RawBlock]:
        """Raises DaemonGoneError."""
        try:
            for block_hash in hashes:
                yield RawBlock(self._fetch(block_hash))
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise DaemonGoneError(f"the node stopped giving blocks: {error}") from error
        finally:
            self._connection.close()

    def _fetch(self, block_hash: str) -> bytes:
        if self._rest:
            self._connection.request("GET", f"/rest/block/{block_hash}.bin")
            reply = self._connection.getresponse()
            body = reply.read()
            if reply.status == 200:
                return body
            self._rest = False
        call = json.dumps({"id": 0, "method": "getblock", "params": [block_hash, 0]})
        self._connection.request("POST", "/", call, self._auth)
        return bytes.fromhex(json.loads(self._connection.getresponse().read())["result"])


def read_ahead(source: BlockSource, hashes: Sequence[str]) -> Iterator[RawBlock]:
    """The source's blocks, fetched by a thread while the caller works on the ones before."""
    waiting: queue.Queue[RawBlock | BaseException | None] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def fetch() -> None:
        end: BaseException | None = None
        try:
            for block in source.blocks(hashes):
                waiting.put(block)
                if stopped.is_set():
                    return
        except BaseException as error:
            end = error
        waiting.put(end)

    thread = threading.Thread(target=fetch, name="blocks", daemon=True)
    thread.start()
    try:
        while isinstance(item := waiting.get(), RawBlock):
            yield item
        if item is not None:
            raise item
    finally:
        stopped.set()
        while thread.is_alive():  # it may be waiting for room
            try:
                waiting.get(timeout=0.05)
            except queue.Empty:
                continue
