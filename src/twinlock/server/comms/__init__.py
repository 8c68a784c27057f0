"""The communication hub: sockets in, typed messages out, one frame to many subscribers.

A connection is a `link`. The hub reads its frames (`frames`, pure), holds it to the limits of section 1.3 of the
protocol (`meters`), decodes each message, calls the handler that registered for the route, and sends back what
the handler returned or the error it raised. Other components see `Call`, `Link` and `Hub`, never a socket.

Invariants:

* Messages of one link are handled strictly in order; a handler that waits for a chain is marked `waits` and runs
  beside the others, so that it never blocks its link.
* No queue grows without bound: a peer that does not read is cut off, and costs the others nothing.
* Bytes from a peer are bounded before they are parsed, and no input raises past the hub.
"""
