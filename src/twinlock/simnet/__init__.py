"""A whole exchange on one machine: real nodes on private chains, every service as a process of its own, and traders.

Invariants: every process that is started is stopped, or dies with its starter; everything listens on loopback;
whatever a story asserts about money is asserted to the atom.
"""
