"""The units that travel over the control interface. What comes in is held to their bounds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MOST = 2**63 - 1
"""The largest number taken: more than there are atoms of any coin."""

Atoms = Annotated[int, Meta(ge=0, le=MOST, description="The coin's smallest unit.")]
SomeAtoms = Annotated[int, Meta(ge=1, le=MOST, description="The coin's smallest unit; at least one.")]
Rate = Annotated[int, Meta(ge=0, le=MOST, description="Message-rate: quote atoms for 10^8 base atoms.")]
FeeRate = Annotated[int, Meta(ge=0, le=1_000_000, description="Atoms per vbyte.")]
Ms = Annotated[int, Meta(ge=0, le=MOST, description="Milliseconds since 1970.")]
Seconds = Annotated[int, Meta(description="Seconds since 1970.")]
Hex = Annotated[str, Meta(description="Lower-case hex.")]
Host = Annotated[str, Meta(description="The server, as the configuration names it; the first one without it.")]
Market = Annotated[str, Meta(description="Base and quote symbol, such as ltc_btc.")]
Point = Annotated[str, Meta(description="A transaction's output, txid:index.", pattern=r"^[0-9a-f]{64}:\d{1,10}$")]
Tag = Annotated[str, Meta(max_length=200, description="The caller's own name; used twice it counts once.")]
