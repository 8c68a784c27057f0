"""What this machine gives, without the exchange: `python -m benchmarks.server.baseline machine FOLDER|echo`.

machine: signatures a second on one core, and what syncing 4 kB to the folder's disk takes; JSON. echo: a bare server on
the same event loop that answers every frame with a receipt's worth of bytes. The load of order intake runs against it
unchanged: what it reaches there is the most that load, sockets and loop together give.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import uvloop

from twinlock.chain.keys import PrivateKey
from twinlock.chain.signatures import Claim, check_many, sign_many
from twinlock.server.comms.frames import FrameReader, Opcode, encode

_SIGNATURES, _SYNCS, _PAGE = 5_000, 50, 4_096
_ANSWER = encode(Opcode.TEXT, b'{"type":2,"id":1,"payload":{"result":"%b"},"sig":""}' % (b"0" * 280))
_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def machine(folder: Path) -> dict[str, Any]:
    """Rates of what every order costs."""
    key = PrivateKey(sha256(b"baseline").digest())
    digests = [sha256(b"%d" % number).digest() for number in range(_SIGNATURES)]
    began = time.perf_counter()
    signatures = sign_many(key, digests)
    signed = time.perf_counter()
    good = check_many([Claim(key.public, *pair) for pair in zip(digests, signatures, strict=True)])
    checked = time.perf_counter()
    assert all(good)
    return {
        "signatures_made_per_second": round(_SIGNATURES / (signed - began)),
        "signatures_checked_per_second": round(_SIGNATURES / (checked - signed)),
        "sync_ms": round(_sync_ms(folder / "sync"), 2),
    }


def _sync_ms(path: Path) -> float:
    """The median time of appending 4 kB and syncing them."""
    took = []
    with path.open("ab", buffering=0) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(bytes(_PAGE))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


class Echo(asyncio.Protocol):
    """Upgrades whoever comes, and answers every frame."""

    def __init__(self) -> None:
        self._reader = FrameReader(1 << 20)
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._upgraded:
            self._transport.write(b"".join(_ANSWER for _ in self._reader.feed(data)))
        else:
            self._upgraded = True
            self._transport.write(_UPGRADED)


async def echo() -> None:
    """Until standard input ends; prints its port."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        uvloop.run(echo())
    else:
        print(json.dumps(machine(Path(sys.argv[2]))))
