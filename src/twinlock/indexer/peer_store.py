"""Peers kept over a restart: the servers that were well, in one file. They are looked at before others are told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog

from twinlock.indexer.kept_list import keep_list, read_list
from twinlock.indexer.peer import MAINNET_PORTS, Peer, Ports

log = structlog.get_logger("indexer.peers")

_MOST = 500
_LARGEST = 1 << 18
SOURCE = "the last time"


class PeerStore:
    """The file, in the notation of IRC. Nothing depends on it: what cannot be read or written is done without."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self, usual: Ports = MAINNET_PORTS) -> list[Peer]:
        """Those that were kept."""
        try:
            if self._file.stat().st_size > _LARGEST:
                raise ValueError("it is too large")
            names = read_list(self._file)
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:  # what msgspec says is a ValueError
            log.warning("the peers of the last time cannot be read", file=str(self._file), reason=str(error))
            return []
        peers = (Peer.from_real_name(name, SOURCE, usual) for name in names[:_MOST])
        return [peer for peer in peers if peer is not None]

    def save(self, peers: Iterable[Peer]) -> None:
        """Keep these, the best first; the file is replaced in one step."""
        names = [peer.real_name() for peer, _ in zip(peers, range(_MOST), strict=False)]
        try:
            keep_list(self._file, names)
        except OSError as error:
            log.warning("the peers cannot be kept", file=str(self._file), reason=str(error))
