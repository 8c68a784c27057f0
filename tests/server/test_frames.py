"""WebSocket framing against RFC 6455, frame by frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinlock.seams import SeededEntropy
from twinlock.server.comms.frames import (
    CloseCode,
    Event,
    FrameError,
    FrameReader,
    Opcode,
    accept_key,
    encode,
    encode_close,
    unmask,
)


def masked(opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0) -> bytes:
    """What a client sends."""
    size = len(payload)
    mask = SeededEntropy(size).token(4)
    first = bytes(((0x80 if final else 0) | reserved | opcode,))
    if size < 126:
        head = bytes((0x80 | size,))
    elif size < 65_536:
        head = bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | 127,)) + size.to_bytes(8, "big")
    return first + head + mask + unmask(payload, mask)


def read(data: bytes, limit: int = 8_192) -> list[Event]:
    return list(FrameReader(limit).feed(data))


def test_the_rfcs_own_example_of_the_handshake() -> None:
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_rfcs_masked_hello() -> None:
    assert read(bytes.fromhex("818537fa213d7f9f4d5158")) == [Event(Opcode.TEXT, b"Hello")]


@given(st.lists(st.binary(max_size=70_000), max_size=4), st.integers(1, 5_000))
def test_any_cut_of_the_stream_gives_the_same_messages(messages: list[bytes], cut: int) -> None:
    stream = b"".join(masked(Opcode.TEXT, message) for message in messages)
    reader = FrameReader(262_144)
    events = [event for start in range(0, len(stream), cut) for event in reader.feed(stream[start : start + cut])]
    assert events == [Event(Opcode.TEXT, message) for message in messages]


def test_fragments_are_joined_and_control_frames_may_stand_between() -> None:
    stream = (
        masked(Opcode.TEXT, b"ab", final=False)
        + masked(Opcode.PING, b"")
        + masked(Opcode.CONTINUATION, b"c", final=False)
        + masked(Opcode.CONTINUATION, b"d")
    )
    assert read(stream) == [Event(Opcode.PING, b""), Event(Opcode.TEXT, b"abcd")]


def test_a_message_may_come_in_a_thousand_pieces_and_no_more() -> None:
    pieces = masked(Opcode.TEXT, b"x", final=False) + masked(Opcode.CONTINUATION, b"x", final=False) * 998
    last = masked(Opcode.CONTINUATION, b"x")
    assert read((pieces + last) * 2) == [Event(Opcode.TEXT, b"x" * 1000)] * 2
    with pytest.raises(FrameError) as caught:
        read(pieces + masked(Opcode.CONTINUATION, b"x", final=False) + last)
    assert caught.value.close_code is CloseCode.POLICY


@pytest.mark.parametrize(
    ("data", "close_code"),
    [
        (encode(Opcode.TEXT, b"unmasked"), CloseCode.PROTOCOL),
        (masked(Opcode.TEXT, b"x", reserved=0x40), CloseCode.PROTOCOL),
        (masked(0x3, b"x"), CloseCode.PROTOCOL),
        (masked(Opcode.PING, b"x" * 126), CloseCode.PROTOCOL),
        (masked(Opcode.PING, b"x", final=False), CloseCode.PROTOCOL),
        (masked(Opcode.CONTINUATION, b"x"), CloseCode.PROTOCOL),
        (masked(Opcode.TEXT, b"x", final=False) + masked(Opcode.TEXT, b"x"), CloseCode.PROTOCOL),
        (masked(Opcode.BINARY, b"x"), CloseCode.UNSUPPORTED),
        (masked(Opcode.TEXT, b"x" * 8_193), CloseCode.TOO_BIG),
        (masked(Opcode.TEXT, b"x" * 8_192, final=False) + masked(Opcode.CONTINUATION, b"x"), CloseCode.TOO_BIG),
    ],
)
def test_broken_framing_names_its_close_code(data: bytes, close_code: CloseCode) -> None:
    with pytest.raises(FrameError) as caught:
        read(data)
    assert caught.value.close_code == close_code


def test_an_announced_size_is_refused_before_its_bytes_arrive() -> None:
    head = bytes((0x81, 0xFF)) + (2**62).to_bytes(8, "big")
    with pytest.raises(FrameError):
        read(head)


def test_a_close_frame_carries_its_code_and_fits_a_control_frame() -> None:
    frame = encode_close(CloseCode.TOO_BIG, "x" * 500)
    assert frame[2:4] == (1009).to_bytes(2, "big")
    assert len(frame) == 2 + 125
