"""The trader's own coins: light wallets that need a seed, Electrum servers and seconds.

Invariants
- Every key comes from the seed and public facts, so the seed and the chain restore everything.
- A transaction is signed and stored before anybody can broadcast it; repeating it means the same bytes.
- Each atom is in exactly one place of the ledger, and the places add up to what the chain shows.

From the bottom up: `keys` (seed to keys), `selection` (which coins to spend) and `ledger` (where each atom is) are
pure; `journal` stores what the chain cannot give back; `scanner` keeps the ledger at what the chain shows; `purse`
keeps all of them in step; `light` is the wallet.

>>> import asyncio
>>> from twinlock.chain.address import address_to_script
>>> from twinlock.chain.coins import coin
>>> from twinlock.client.store import MemoryStore
>>> from twinlock.electrum.simulated import SimulatedServer
>>> from twinlock.electrum.simulated_chain import SimulatedChain
>>> from twinlock.electrum.view import ChainView
>>> from twinlock.seams import SystemClock, SystemEntropy
>>> async def received() -> int:
...     chain, clock = SimulatedChain(coin("btc", "regtest")), SystemClock()
...     chain.mine(101)
...     dial = SimulatedServer(chain).dial
...     keys = WalletKeys.from_phrase(chain.coin, "abandon " * 11 + "about")
...     view = ChainView(chain.coin, ["tcp://simulated:1"], clock=clock, entropy=SystemEntropy(), dial=dial)
...     async with view, LightWallet(chain.coin, view, keys, MemoryStore(), clock) as wallet:
...         chain.pay(address_to_script(chain.coin, await wallet.new_address()), 75_000)
...         async for balance in wallet.changes():
...             if balance.unconfirmed:
...                 return balance.unconfirmed
>>> asyncio.run(received())
75000
"""

from twinlock.client.wallet.keys import SwapPurpose, WalletKeys
from twinlock.client.wallet.light import LightWallet
from twinlock.client.wallet.types import Balance, BondDraft, Funding, Payment, SignedTx, Stake, WalletCoin
from twinlock.client.wallet.wallet import Wallet

__all__ = [
    "Balance",
    "BondDraft",
    "Funding",
    "LightWallet",
    "Payment",
    "SignedTx",
    "Stake",
    "SwapPurpose",
    "Wallet",
    "WalletCoin",
    "WalletKeys",
]
