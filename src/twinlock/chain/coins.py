"""The coins, as rows of data.

A new Bitcoin-like coin is a new row. A coin of another family is a row whose `family` names a strategy
that a plug-in brings (see `twinlock.chain.plugins`).

>>> coin("ltc", Network.REGTEST).hrp
'rltc'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from twinlock.chain.coin import Coin, Network
from twinlock.chain.errors import UnknownAssetError
from twinlock.chain.plugins import plugged_in

__all__ = ["COINS", "Coin", "Network", "coin", "coin_by_id"]

_BTC = Coin(
    symbol="btc",
    name="Bitcoin",
    network=Network.MAINNET,
    asset_id=0,
    unit="BTC",
    p2pkh=(0x00,),
    p2sh=(0x05,),
    hrp="bc",
    wif=0x80,
    bip44_coin_type=0,
    genesis_hash="000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    node_rpc_port=8332,
    p2p_magic=bytes.fromhex("f9beb4d9"),
)
_BTC_TESTNET = replace(
    _BTC,
    network=Network.TESTNET,
    p2pkh=(0x6F,),
    p2sh=(0xC4,),
    hrp="tb",
    genesis_hash="000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
    node_rpc_port=18332,
    p2p_magic=bytes.fromhex("0b110907"),
    reorg_limit=8000,
    wif=0xEF,
    bip44_coin_type=1,
    bip32_private=0x04358394,
    bip32_public=0x043587CF,
)
_BTC_TESTNET4 = replace(
    _BTC_TESTNET,
    network=Network.TESTNET4,
    genesis_hash="00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    node_rpc_port=48332,
    p2p_magic=bytes.fromhex("1c163f28"),
)
_BTC_SIGNET = replace(
    _BTC_TESTNET,
    network=Network.SIGNET,
    genesis_hash="00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
    node_rpc_port=38332,
    p2p_magic=bytes.fromhex("0a03cf40"),
)
_BTC_REGTEST = replace(
    _BTC_TESTNET,
    network=Network.REGTEST,
    hrp="bcrt",
    genesis_hash="0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
    node_rpc_port=18443,
    p2p_magic=bytes.fromhex("fabfb5da"),
)
_LTC = replace(
    _BTC,
    symbol="ltc",
    name="Litecoin",
    asset_id=2,
    asset_version=1,
    unit="LTC",
    atomic_unit="litoshi",
    p2pkh=(0x30,),
    p2sh=(0x32, 0x05),
    hrp="ltc",
    wif=0xB0,
    bip44_coin_type=2,
    genesis_hash="12a765e31ffd4059bada1e25190f6e98c99d9714d334efa41a195a7e7e04bfe2",
    node_rpc_port=9332,
    p2p_magic=bytes.fromhex("fbc0b6db"),
    mweb=True,
    proof_of_work="scrypt",
    max_fee_rate=20,
    swap_conf=6,
    block_seconds=150,
    dust_rate=30,
    reorg_limit=800,
    replaceable=False,
)
_LTC_TESTNET = replace(
    _LTC,
    network=Network.TESTNET,
    p2pkh=(0x6F,),
    p2sh=(0x3A, 0xC4),
    hrp="tltc",
    genesis_hash="4966625a4b2851d9fdee139e56211a0d88575f59ed816ff5e6a63deb4e3e29a0",
    node_rpc_port=19332,
    p2p_magic=bytes.fromhex("fdd2c8f1"),
    reorg_limit=4000,
    wif=0xEF,
    bip44_coin_type=1,
    bip32_private=0x04358394,
    bip32_public=0x043587CF,
)
_LTC_REGTEST = replace(
    _LTC_TESTNET,
    network=Network.REGTEST,
    hrp="rltc",
    genesis_hash="530827f38f93b43ed12af0b3ad25a288dc02ed74d6d7857862df51fc56c416f9",
    node_rpc_port=19443,
    p2p_magic=bytes.fromhex("fabfb5da"),
)

_DOGE = replace(
    _BTC,
    symbol="doge",
    name="Dogecoin",
    asset_id=3,
    unit="DOGE",
    atomic_unit="koinu",
    p2pkh=(0x1E,),
    p2sh=(0x16,),
    hrp="",
    wif=0x9E,
    bip44_coin_type=3,
    bip32_private=0x02FAC398,
    bip32_public=0x02FACAFD,
    genesis_hash="1a91e3dace36e2be3bf030a65679fe821aa1d6ef92e7c9902eb318182c355691",
    node_rpc_port=22555,
    p2p_magic=bytes.fromhex("c0c0c0c0"),
    segwit=False,
    auxpow=True,
    auxpow_id=0x62,
    retarget=1,
    proof_of_work="scrypt",
    max_fee_rate=50_000,
    swap_conf=20,
    block_seconds=60,
    maturity=240,
    dust_rate=5_000,
    reorg_limit=2000,
)
_DOGE_TESTNET = replace(
    _DOGE,
    network=Network.TESTNET,
    p2pkh=(0x71,),
    p2sh=(0xC4,),
    wif=0xF1,
    bip44_coin_type=1,
    bip32_private=0x04358394,
    bip32_public=0x043587CF,
    genesis_hash="bb0a78264637406b6360aad926284d544d7049f45189db5664f3c4d07350559e",
    node_rpc_port=44555,
    p2p_magic=bytes.fromhex("fcc1b7dc"),
    reorg_limit=4000,
)
_DOGE_REGTEST = replace(
    _DOGE_TESTNET,
    network=Network.REGTEST,
    p2pkh=(0x6F,),
    wif=0xEF,
    maturity=60,
    genesis_hash="3d2160a3b5dc4a9d62e7e66a295f70313ac808440ef7400d6c0772171ce973a5",
    node_rpc_port=18332,
    p2p_magic=bytes.fromhex("fabfb5da"),
)

COINS: Mapping[tuple[str, Network], Coin] = MappingProxyType(
    {
        row.key: row
        for row in (
            _BTC,
            _BTC_TESTNET,
            _BTC_TESTNET4,
            _BTC_SIGNET,
            _BTC_REGTEST,
            _LTC,
            _LTC_TESTNET,
            _LTC_REGTEST,
            _DOGE,
            _DOGE_TESTNET,
            _DOGE_REGTEST,
        )
    }
)
"""The built-in coins by (symbol, network)."""


def coin(symbol: str, network: Network | str) -> Coin:
    """The coin of that symbol ("btc") on that network; built-in rows first, then plug-ins.

    Raises UnknownAssetError.
    """
    for row in _rows():
        if (row.symbol, row.network) == (symbol, network):
            return row
    raise UnknownAssetError(
        f"{symbol} on {network} is not known here",
        numbers={"symbol": symbol, "network": str(network)},
        fix="check the spelling, or install the package that brings this coin",
    )


def coin_by_id(asset_id: int, network: Network | str) -> Coin:
    """The coin with that asset ID (protocol section 8.1) on that network. Raises UnknownAssetError."""
    for row in _rows():
        if (row.asset_id, row.network) == (asset_id, network):
            return row
    raise UnknownAssetError(
        f"asset {asset_id} on {network} is not known here",
        numbers={"asset": asset_id, "network": str(network)},
        fix="install the package that brings this coin",
    )


def _rows() -> Iterator[Coin]:
    """Built-in rows, then those of plug-ins, which are loaded only when no built-in row would do."""
    yield from COINS.values()
    yield from plugged_in().coins
