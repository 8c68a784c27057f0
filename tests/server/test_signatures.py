"""The signature desk: everybody gets the own answer, whatever came together."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from twinlock.chain.keys import PrivateKey
from twinlock.chain.signatures import Claim
from twinlock.protocol.signing import check
from twinlock.server.signatures import SignatureDesk

pytestmark = pytest.mark.anyio
KEY, OTHER = (PrivateKey(sha256(name).digest()) for name in (b"ours", b"theirs"))


async def test_each_gets_the_answer_to_the_own_question() -> None:
    desk = SignatureDesk(KEY)
    messages = [b"message %d" % number for number in range(100)]
    made = await asyncio.gather(*(desk.sign(message) for message in messages))
    assert all(check(KEY.public, message, made_) for message, made_ in zip(messages, made, strict=True))
    keys = [KEY.public if number % 3 else OTHER.public for number in range(100)]
    found = await asyncio.gather(*(desk.check(*asked) for asked in zip(keys, messages, made, strict=True)))
    assert found == [bool(number % 3) for number in range(100)]
    desk.close()


async def test_a_broken_key_and_a_digest_of_another_size_are_a_no() -> None:
    desk = SignatureDesk(KEY)
    assert not await desk.check(b"no key", b"message", b"")
    assert not await desk.holds(Claim(KEY.public, b"short", KEY.sign(bytes(32))))
    assert await desk.holds(Claim(KEY.public, bytes(32), KEY.sign(bytes(32))))
    desk.close()


async def test_whoever_waits_when_it_closes_is_cancelled() -> None:
    desk = SignatureDesk(KEY)
    waiting = desk.sign(b"message")
    desk.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
