"""What a client leaves with a tower for one swap: which contracts to watch, and what to send when."""

from __future__ import annotations

from typing import Literal

import msgspec

from twinlock.chain import presigned
from twinlock.chain.coins import Coin, Network, coin
from twinlock.chain.contract import SwapContract, is_secret
from twinlock.chain.families import family_of
from twinlock.chain.presigned import Locked
from twinlock.client.errors import ClientError
from twinlock.errors import TwinlockError

VERSION = 1

MAX_BYTES = 64 * 1024
"""Two contracts with a ladder of eight transactions each take a tenth of that."""

MAX_RUNGS = 16


class PacketError(ClientError):
    """A packet is not one, or what it holds would not do what it is for."""

    code = "tower.packet"
    fault = "peer"


class LegWatch(msgspec.Struct, frozen=True):
    """A contract to watch, and the ladder of signed transactions that spend it, lowest fee rate first.

    asset: symbol. coin_id: the contract's output. value: atoms.
    """

    asset: str
    coin_id: bytes
    contract: bytes
    value: int
    ladder: tuple[bytes, ...]


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one match.

    revision: a later packet of the same swap has a higher one and replaces it. own: what the client funded, with
    refunds. theirs: what it is to get, with redemptions; None while it is not known. secret: only once it is public.
    """

    version: int = VERSION
    network: Network
    match_id: bytes
    role: Literal["maker", "taker"]
    revision: int
    own: LegWatch
    theirs: LegWatch | None = None
    secret: bytes = b""

    @property
    def name(self) -> str:
        """Unique among a tower's packets, and a file's name."""
        return f"{self.match_id.hex()}-{self.role}"

    def coin(self, leg: LegWatch) -> Coin:
        """The coin of a leg. Raises ChainError."""
        return coin(leg.asset, self.network)


def encode(packet: Packet) -> bytes:
    return msgspec.msgpack.encode(packet)


def decode(body: bytes) -> Packet:
    """A packet from anybody, checked in everything. Raises PacketError."""
    if len(body) > MAX_BYTES:
        raise PacketError("a packet is never so large", numbers={"size": len(body), "limit": MAX_BYTES})
    try:
        packet = msgspec.msgpack.decode(body, type=Packet)
    except msgspec.DecodeError as error:
        raise PacketError(f"that is not a packet: {error}") from error
    try:
        check(packet)
    except PacketError:
        raise
    except TwinlockError as error:
        raise PacketError(f"the packet would not do its work: {error}", code=f"tower.{error.code}") from error
    return packet


def check(packet: Packet) -> None:
    """Every transaction spends what it should, with a good signature. Raises PacketError, ChainError."""
    if packet.version != VERSION:
        raise PacketError("the packet is of another version", numbers={"theirs": packet.version, "ours": VERSION})
    if len(packet.match_id) != 32 or packet.revision < 0:
        raise PacketError("the packet names no match")
    _check_leg(packet, packet.own, presigned.check_refund)
    if packet.theirs is not None:
        _check_leg(packet, packet.theirs, presigned.check_redeem)
        if _secret_hash(packet.own) != _secret_hash(packet.theirs):
            raise PacketError("the two contracts have different secret hashes")
    if packet.secret and not is_secret(packet.secret, _secret_hash(packet.own)):
        raise PacketError("the secret is not that of the contracts")


def locked(packet: Packet, leg: LegWatch) -> Locked:
    """The contract's output. Raises ChainError."""
    return Locked(family_of(packet.coin(leg)).parse_coin_id(leg.coin_id), leg.value, leg.contract)


def lock_time(leg: LegWatch) -> int:
    """Seconds; when the sender may take the contract back. Raises ChainError."""
    return SwapContract.parse(leg.contract).lock_time


def secret_hash(packet: Packet) -> bytes:
    """The hash that both contracts are locked with."""
    return _secret_hash(packet.own)


def _secret_hash(leg: LegWatch) -> bytes:
    return SwapContract.parse(leg.contract).secret_hash


def _check_leg(packet: Packet, leg: LegWatch, check_one: presigned.Check) -> None:
    if not 0 < len(leg.ladder) <= MAX_RUNGS:
        raise PacketError("a leg has no transactions, or too many", numbers={"count": len(leg.ladder)})
    row, output = packet.coin(leg), locked(packet, leg)
    rates = [check_one(row, output, raw).fee_rate for raw in leg.ladder]
    if rates != sorted(rates):
        raise PacketError("the transactions do not stand in the order of their fees")
