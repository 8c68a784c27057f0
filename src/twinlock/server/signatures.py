"""The signature desk: what arrives while it works is checked and signed together, in a thread beside the loop.

A signature costs as much as everything else about an order, and needs nothing of the interpreter's
(`twinlock.chain.signatures`). One at a time would lose what the thread gains by handing each over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, TypeVar

from msgspec.structs import replace

from twinlock.chain.keys import PrivateKey
from twinlock.chain.signatures import Claim, check_many, sign_many
from twinlock.protocol.signing import unsigned
from twinlock.protocol.wire import Hex, Signed

T = TypeVar("T")
S = TypeVar("S", bound=Signed)


class SignatureDesk:
    """Checks anybody's signatures and makes those of one key. Close it when nobody waits any more."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="signatures")
        self._claims: list[tuple[Claim, asyncio.Future[bool]]] = []
        self._digests: list[tuple[bytes, asyncio.Future[Hex]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def check(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the holder of the key signed a message of the protocol. A broken key is a no."""
        return await self.holds(Claim(public_key, sha256(message).digest(), signature))

    async def require(self, public_key: bytes, message: bytes, signature: bytes) -> None:
        """Raise `RpcError` with code 22 unless the holder of the key signed a message of the protocol."""
        if not await self.check(public_key, message, signature):
            raise unsigned()

    async def holds(self, claim: Claim) -> bool:
        """Whether a claim is true."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._claims.append((claim, answer))
        self._start()
        return await answer

    def sign(self, message: bytes) -> asyncio.Future[Hex]:
        """Our signature of a message of the protocol, on its way."""
        answer: asyncio.Future[Hex] = asyncio.get_running_loop().create_future()
        self._digests.append((sha256(message).digest(), answer))
        self._start()
        return answer

    async def signed(self, messages: Sequence[S]) -> list[S]:
        """The messages with our signatures in place."""
        signatures = await asyncio.gather(*(self.sign(message.signed_bytes()) for message in messages))
        return [replace(message, sig=signature) for message, signature in zip(messages, signatures, strict=True)]

    def close(self) -> None:
        """Whoever still waits is cancelled."""
        if self._worker is not None:
            self._worker.cancel()
        _cancel(self._claims)
        _cancel(self._digests)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Until nothing waits: all that waits, together."""
        loop = asyncio.get_running_loop()
        try:
            while self._claims or self._digests:
                claims, self._claims = self._claims, []
                digests, self._digests = self._digests, []
                batch = [claim for claim, _ in claims], [digest for digest, _ in digests]
                try:
                    verdicts, signatures = await loop.run_in_executor(self._thread, self._batch, *batch)
                except Exception as error:
                    _fail(claims, error)
                    _fail(digests, error)
                    continue
                _settle([answer for _, answer in claims], verdicts)
                _settle([answer for _, answer in digests], signatures)
        finally:
            self._worker = None

    def _batch(self, claims: list[Claim], digests: list[bytes]) -> tuple[list[bool], list[Hex]]:
        return check_many(claims), [Hex(signature) for signature in sign_many(self._key, digests)]


def _cancel(asked: Iterable[tuple[object, asyncio.Future[Any]]]) -> None:
    for _, answer in asked:
        answer.cancel()


def _fail(asked: Iterable[tuple[object, asyncio.Future[Any]]], error: Exception) -> None:
    for _, answer in asked:
        if not answer.done():
            answer.set_exception(error)


def _settle(answers: list[asyncio.Future[T]], values: list[T]) -> None:
    for answer, value in zip(answers, values, strict=True):
        if not answer.done():
            answer.set_result(value)
