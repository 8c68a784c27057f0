"""What a coin is: everything about a chain that is a number, a prefix or a name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Network(StrEnum):
    """Which chain of a coin; every asset of an exchange lives on the same one."""

    MAINNET = "mainnet"
    TESTNET = "testnet"
    REGTEST = "regtest"
    TESTNET4 = "testnet4"
    SIGNET = "signet"


_PREFIXES = (("m", 1_000), ("µ", 1_000_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """One coin on one network.

    symbol, name: "btc", "Bitcoin". asset_id: SLIP-44 based (protocol section 8.1). asset_version: of the
    swap contracts. unit, atomic_unit: what people call one coin and one atom; conversion_factor: atoms
    in one coin. p2pkh, p2sh: address version bytes, the first is the one we write. hrp: of bech32
    addresses. wif: version byte of private keys. bip32_private, bip32_public: extended key versions.
    genesis_hash: display hex. p2p_magic: 4 bytes as on the wire. segwit: contracts are P2WSH and swap
    addresses P2WPKH. mweb: transactions may carry Litecoin's extension. proof_of_work: "sha256d" or
    "scrypt". fee_rate_denom: what fee rates count, atoms per this. max_fee_rate, swap_conf: what an
    operator gets who sets nothing. block_seconds: average spacing. maturity: blocks until a coinbase
    may be spent. dust_rate: atoms per vbyte of making and spending an output below which
    nodes call it dust. reorg_limit: blocks an indexer can undo. replaceable: nodes let a transaction in the
    mempool be replaced by one that pays more (BIP 125). auxpow: a header whose version has bit 0x100 is followed
    by the proof that another chain's block did its work; the block's identity is the hash of the first 80 bytes.
    auxpow_id: of the chain, among those that are mined together. retarget: blocks between changes of difficulty.
    """

    symbol: str
    name: str
    network: Network
    asset_id: int
    unit: str
    p2pkh: tuple[int, ...]
    p2sh: tuple[int, ...]
    hrp: str
    wif: int
    bip44_coin_type: int
    genesis_hash: str
    node_rpc_port: int
    p2p_magic: bytes
    family: str = "bitcoin"
    asset_version: int = 0
    atomic_unit: str = "Sats"
    conversion_factor: int = 100_000_000
    fee_rate_denom: str = "vB"
    bip32_private: int = 0x0488ADE4
    bip32_public: int = 0x0488B21E
    segwit: bool = True
    mweb: bool = False
    proof_of_work: str = "sha256d"
    max_fee_rate: int = 100
    swap_conf: int = 3
    block_seconds: int = 600
    maturity: int = 100
    dust_rate: int = 3
    reorg_limit: int = 200
    replaceable: bool = True
    auxpow: bool = False
    auxpow_id: int = 0
    retarget: int = 2016

    @property
    def denominations(self) -> tuple[tuple[str, int], ...]:
        """Smaller units that people use, each with its atoms: thousandths and millionths."""
        return tuple((f"{prefix}{self.unit}", self.conversion_factor // parts) for prefix, parts in _PREFIXES)

    @property
    def key(self) -> tuple[str, Network]:
        """How tables look the coin up."""
        return self.symbol, self.network
