"""The watchtower: it finishes or refunds the swaps of a client that is asleep or dead, and holds none of its keys.

- `packet`: what a client leaves with a tower, checked to the last signature before it is accepted
- `decide`: what to do, read off what the two chains show; pure
- `shelf`: the packets on disk
- `watcher`: one task per packet that looks, decides and broadcasts
- `sealing`, `reception`: how packets come in over HTTP, encrypted and authenticated with the tower's key
- `courier`: the client's side, which makes packets and delivers them

Invariants
- Nothing in a packet can pay anybody but the client: every transaction in it is signed, to an address of the client's.
- A maker's secret is in no packet before the maker itself has made it public.
- A packet that was accepted survives a power cut; doing everything again, or twice, or beside the client, is harmless.

What a tower can do: refund a contract once its lock time has passed, and, for a taker, read the secret out of the
maker's redemption and take the maker's contract with it. What it cannot do: fund a contract, or reveal a secret.
"""

from twinlock.client.tower.packet import Packet

__all__ = ["Packet"]
