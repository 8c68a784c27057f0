"""Samplecoin: a Bitcoin-like coin in twenty lines. A package like this one is all that a new coin takes."""

from __future__ import annotations

from twinlock.chain.coins import Coin, Network
from twinlock.chain.plugins import Assets

SAMPLE = Coin(
    symbol="smpl",
    name="Samplecoin",
    network=Network.REGTEST,
    asset_id=0x534D504C,
    unit="SMPL",
    atomic_unit="grains",
    p2pkh=(63,),
    p2sh=(125,),
    hrp="smplrt",
    wif=191,
    bip44_coin_type=1,
    genesis_hash="5a" * 32,
    node_rpc_port=19_999,
    p2p_magic=b"smpl",
)
ASSETS = Assets(coins=(SAMPLE,))
