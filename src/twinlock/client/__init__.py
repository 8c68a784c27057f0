"""The trader's side: wallets, accounts and bonds, orders, the book replayed, and swaps that end well.

`Trader` ties everything; its parts stand in their own rooms:

- `config`, `events`, `errors`: what goes in, what happens, what goes wrong
- `store`: what must not be lost, encrypted; `wallet`: the coins; `keys`: what else the seed gives
- `link`, `session`: the wire to a server; `account`, `bonds`, `orders`: what stands there in our name
- `book_mirror`, `feed`: the book, and every epoch replayed through the matcher
- `swapper`: every match taken to its end; `venue`: all of this for one server

Invariants: signed, stored, then broadcast; nothing that was acknowledged is forgotten; no coin depends on the
server once both contracts are on chain; what the server claims is checked, and kept where it proves a lie.

`Trader` is the trader inside your own program; `connect` talks to a client that runs already.

```python
async with Trader(config, password) as trader:
    await trader.connected()
    await trader.limit("ltc_btc", Side.SELL, quantity=100_000_000, rate=250_000)
    async for event in trader.events():
        print(event)
```
"""

from twinlock.client.api import Api, connect
from twinlock.client.config import ClientConfig
from twinlock.client.drafts import LimitAsk
from twinlock.client.trader import Trader, initialize
from twinlock.protocol.messages.orders import OrderOptions
from twinlock.protocol.orders import Side, TimeInForce

__all__ = ["Api", "ClientConfig", "LimitAsk", "OrderOptions", "Side", "TimeInForce", "Trader", "connect", "initialize"]
