"""Frames that are wrong in every way, some of them nearly right."""

from __future__ import annotations

import json
import random
from typing import Any

from twinlock.protocol.routes import ROUTES, Direction

TO_SERVER = [route.name for route in ROUTES.values() if route.direction is Direction.TO_SERVER]


class Nonsense:
    """Draws them. example: a good frame, to be spoilt."""

    def __init__(self, seed: int, example: bytes) -> None:
        self._draw = random.Random(seed)
        self._example = example

    def frame(self) -> str:
        make = self._draw.choice((self._envelope, self._envelope, self._text, self._mutated))
        return make()

    def _envelope(self) -> str:
        draw = self._draw
        message = {
            "type": draw.choice((1, 1, 1, 2, 3, 0, -1, "1", None)),
            "route": draw.choice([*TO_SERVER, "preimage", "match", "", "x" * 300, 7]),
            "id": draw.choice((0, 1, 2**64 - 1, 2**64, -1, 1.5, None, draw.randrange(10_000))),
            "payload": self._value(3),
        }
        for name in tuple(message):
            if draw.random() < 0.05:
                del message[name]
        return json.dumps(message)

    def _text(self) -> str:
        draw = self._draw
        return draw.choice(("", "{", "[" * 500, '"' * 3, "nul", "{}" * 3, "\x00", "🦊" * 50, "1e999", '{"type":1e99}'))

    def _mutated(self) -> str:
        text = bytearray(self._example)
        for _ in range(self._draw.randrange(1, 4)):
            text[self._draw.randrange(len(text))] = self._draw.randrange(32, 127)
        return text.decode()

    def _value(self, depth: int) -> Any:
        draw = self._draw
        if depth and draw.random() < 0.5:
            names = ("base", "quote", "marketid", "sig", "accountid", "coins", "matchid", "orderid", "tx", "x")
            return {draw.choice(names): self._value(depth - 1) for _ in range(draw.randrange(4))}
        if depth and draw.random() < 0.3:
            return [self._value(depth - 1) for _ in range(draw.randrange(4))]
        return draw.choice((None, True, 0, 2, -1, 2**63, 2**70, 0.5, "", "00" * 32, "zz", "ltc_btc", "abc"))
