"""The Electrum protocol, from bytes to a chain that can be trusted.

From the bottom up: `framing` (lines and JSON-RPC, pure), `methods` (names and typed answers), `transport` (TCP, TLS,
SOCKS, memory), `connection` (one conversation), `client` (several servers, one at a time), `headers` and `proofs`
(what must hold, pure), `sync`, `histories`, `watches`, and on top `view`: a `ChainView` is all that wallets and asset
backends know of a chain. `simulated` is a server with a scripted chain, for tests and simulations.

Invariants
- What a view tells as confirmed has a Merkle branch to a header of the chain that it follows.
- A server that contradicts itself or its proofs is named (`LyingServerError`), left, and another one is tried.
- Nothing waits forever, and nothing grows without bound: lines, caches, headers and requests under way are limited.

>>> import asyncio
>>> from twinlock.chain.coins import coin
>>> from twinlock.electrum.simulated import SimulatedServer
>>> from twinlock.electrum.simulated_chain import SimulatedChain
>>> from twinlock.electrum.view import ChainView
>>> from twinlock.seams import SystemClock, SystemEntropy
>>> async def height() -> int:
...     chain = SimulatedChain(coin("btc", "regtest"))
...     chain.mine(3)
...     dial = SimulatedServer(chain).dial  # without it, real connections
...     servers = ["tcp://simulated:50001"]
...     async with ChainView(chain.coin, servers, clock=SystemClock(), entropy=SystemEntropy(), dial=dial) as view:
...         return (await view.tip()).height
>>> asyncio.run(height())
3
"""
