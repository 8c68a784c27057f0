"""The exchange server: it matches orders fairly and referees their settlement, and never holds a coin.

One way for the data, and nothing reaches back up: socket → hub (`comms`) → typed message → who signed it (`users`) →
is it valid and funded (`market.intake`, `assets`) → the epoch of its market (`market`) → preimages → the matcher
(`twinlock.protocol.matcher`) → one transaction with everything that the epoch changed (`db`) → book feed (`book`) and
match requests → settlement (`swapper`) → history and ledger (`historian`). `manager` puts the components together,
`app` runs them, `http` and `admin` look in from outside, `wallet` names the operator's addresses.

Invariants:

* What was acknowledged or published is stored first, and survives the loss of power.
* All effects of one epoch commit in one transaction; epochs of a market are processed strictly in order.
* The only secret here is the signing key. No input of a peer ends the process or grows it without bound.
* Every refusal carries the protocol's code, a stable reason, the numbers that led to it, and what to do.

A whole exchange, in a coroutine:

    async with Server(load_config(Path("server.toml"))) as server:
        await server.wait()
"""
