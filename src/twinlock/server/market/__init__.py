"""Market managers: one for each market, from a valid order to matches ready to settle.

* `core` is the market itself: pure, fed by inputs, so a recorded log of inputs replays to the same outputs.
* `intake` decides whether a message may become an order (protocol section 5.7); `funding` looks at its coins.
* `manager` is the thin shell, in three rooms that share one `state`: `arrivals` (stamp, store, answer), `epochs` (the
  epoch clock, the questions for preimages, one transaction per epoch, then the news) and `departures` (revocations).

Invariants: an order belongs to the epoch that contains its server time; closed epochs are processed strictly in
order; nothing is published that is not stored; a coin funds one order at a time.
"""
