"""The packets on disk: one file each, there whole or not at all; those that are done are kept apart for a look back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twinlock.client.store.files import sync_folder, write_durably
from twinlock.client.store.lock import ProcessLock
from twinlock.client.tower.packet import Packet, PacketError, decode, encode

SUFFIX = ".packet"


class Shelf:
    """Opens or makes `<folder>/packets`. Raises StoreLockedError where another tower holds it.

    complain: told of files that are no packets any more; they stay where they are and are not watched.
    """

    def __init__(self, folder: Path, complain: Callable[[str], None] = lambda _: None) -> None:
        self._open = folder / "packets"
        self._done = folder / "done"
        for each in (folder, self._open, self._done):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = ProcessLock(folder / "tower.lock")
        self._packets: dict[str, Packet] = {}
        for path in sorted(self._open.glob(f"*{SUFFIX}")):
            try:
                packet = decode(path.read_bytes())
            except PacketError as error:
                complain(f"{path} cannot be used: {error}")
                continue
            self._packets[packet.name] = packet

    def all(self) -> list[Packet]:
        """What is being watched."""
        return list(self._packets.values())

    def get(self, name: str) -> Packet | None:
        return self._packets.get(name)

    def put(self, packet: Packet) -> bool:
        """Keep a checked packet, on disk when the call returns; False if one at least as new is here already."""
        known = self._packets.get(packet.name)
        if known is not None and known.revision >= packet.revision:
            return False
        write_durably(self._path(packet), encode(packet))
        self._packets[packet.name] = packet
        return True

    def finish(self, packet: Packet) -> None:
        """It is watched no longer."""
        if packet.name in self._packets:
            path = self._path(packet)
            path.rename(self._done / path.name)
            sync_folder(self._open)
            del self._packets[packet.name]

    def close(self) -> None:
        self._lock.release()

    def _path(self, packet: Packet) -> Path:
        return self._open / f"{packet.name}{SUFFIX}"
