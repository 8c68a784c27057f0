"""The manifest: which files make up the index. Replaced in one step, so the index is always the old one or the new."""

from __future__ import annotations

import msgspec

from twinlock.errors import Fault, TwinlockError
from twinlock.indexer.storage.checked import read_checked, write_checked
from twinlock.indexer.storage.disk import Disk

FORMAT = 2
"""Format 1 counted transactions that were made twice (BIP 30) twice; see `SegmentStorage`."""

_NAME, _COPY = "manifest", "manifest.copy"

MANIFESTS = frozenset((_NAME, _COPY))
"""The files of the manifest."""


class StorageError(TwinlockError):
    """The stored index cannot be used as it is."""

    code = "indexer.storage"
    fault: Fault = "machine"


class DamagedError(StorageError):
    """Files of the index are not what they were when they were written. The node can give everything again."""

    code = "indexer.storage.damaged"


class OutdatedError(DamagedError):
    """An earlier version of the program wrote what is known to be wrong by now. The node can give everything again."""

    code = "indexer.storage.outdated"


class TooDeepError(StorageError):
    """The chain was reorganised deeper than what can be undone."""

    code = "indexer.storage.too_deep"
    fault: Fault = "chain"


class Run(msgspec.Struct, frozen=True):
    """An immutable piece on disk: its folder, what it covers, and size and CRC-32 of each of its files."""

    name: str
    first_height: int
    blocks: int
    first_tx: int
    txs: int
    files: dict[str, tuple[int, int]]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(size for size, _ in self.files.values())


class Manifest(msgspec.Struct, frozen=True):
    """The index: its runs, oldest first, and the log of the blocks after them. format: that of what it names."""

    chain: str
    serial: int = 0
    runs: tuple[Run, ...] = ()
    log: str = ""
    format: int = FORMAT


def read_manifest(disk: Disk) -> Manifest | None:
    """The manifest, from its copy where it is damaged; None when there is no index yet. Raises StorageError."""
    trouble: DamagedError | None = None
    for name in (_NAME, _COPY):
        try:
            manifest = _read(disk, name)
        except FileNotFoundError:
            continue
        except DamagedError as error:
            trouble = trouble or error
            continue
        if manifest.format > FORMAT:
            raise StorageError(
                f"the index has format {manifest.format}, this program reads formats up to {FORMAT}",
                fix="start the newer program that wrote it, or remove the data directory; the index is built anew then",
            )
        return manifest
    if trouble:
        raise trouble
    return None


def mend_manifest(disk: Disk, manifest: Manifest) -> None:
    """See to it that the manifest and its copy are the same, where a crash or damage made them differ."""
    known = [name for name in MANIFESTS if name in disk.names()]
    if known and (len(known) < len(MANIFESTS) or len({bytes(disk.view(name)) for name in known}) > 1):
        write_manifest(disk, manifest)


def _read(disk: Disk, name: str) -> Manifest:
    if (body := read_checked(disk, name)) is None:
        raise DamagedError("the manifest is damaged", fix="the index has to be built anew")
    try:
        return msgspec.json.decode(body, type=Manifest)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"the manifest cannot be read: {error}") from error


def write_manifest(disk: Disk, manifest: Manifest) -> None:
    """Make the manifest the valid one. Everything that it names must be synced."""
    body = msgspec.json.encode(manifest)
    for name in (_NAME, _COPY):
        write_checked(disk, name, body)
