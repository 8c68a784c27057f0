"""Where a first sync gets its blocks: read ahead by a thread of its own, in the order of the chain."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from twinlock.indexer.daemon import DaemonGoneError
from twinlock.indexer.storage.seam import Spot

_AHEAD = 16 << 20
"""Bytes of blocks that wait for their turn, at most, or one block."""

_TIMEOUT = 60.0


class RawBlock(NamedTuple):
    """A raw block, and where the node keeps it if that is known."""

    raw: bytes
    spot: Spot | None = None


class BlockSource(Protocol):
    """Gives blocks by their hash (display hex)."""

    def blocks(self, hashes: Iterable[str]) -> Iterator[RawBlock]: ...


class NodeSource:
    """Asks the node: by REST where it offers that, else by RPC."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        token = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        self._auth = {"Authorization": "Basic " + base64.b64encode(token).decode()}
        self._connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=_TIMEOUT)
        self._rest = True

    def blocks(self, hashes: Iterable[str]) -> Iterator[RawBlock]:
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


class _Ahead:
    """Blocks between the thread that fetches and the one that works on them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._blocks: deque[RawBlock] = deque()
        self._size = 0
        self._ended = self._stopped = False
        self.error: BaseException | None = None

    def put(self, block: RawBlock) -> bool:
        """Wait for room and add one; False once nobody takes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._size < _AHEAD or self._stopped)
            self._blocks.append(block)
            self._size += len(block.raw)
            self._changed.notify_all()
            return not self._stopped

    def end(self, error: BaseException | None) -> None:
        """There are no more."""
        with self._changed:
            self._ended, self.error = True, error
            self._changed.notify_all()

    def take(self) -> RawBlock | None:
        """The next one; None when there are no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._ended)
            if not self._blocks:
                return None
            block = self._blocks.popleft()
            self._size -= len(block.raw)
            self._changed.notify_all()
            return block

    def stop(self) -> None:
        """Nobody takes any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


def read_ahead(source: BlockSource, hashes: Iterable[str]) -> Iterator[RawBlock]:
    """The source's blocks, fetched by a thread while the caller works on the ones before."""
    ahead = _Ahead()

    def fetch() -> None:
        end: BaseException | None = None
        try:
            for block in source.blocks(hashes):
                if not ahead.put(block):
                    return
        except BaseException as error:
            end = error
        ahead.end(end)

    thread = threading.Thread(target=fetch, name="blocks", daemon=True)
    thread.start()
    try:
        while (block := ahead.take()) is not None:
            yield block
        if ahead.error is not None:
            raise ahead.error
    finally:
        ahead.stop()
        thread.join()
