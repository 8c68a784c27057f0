"""The block scanner: one pass over a raw block gives its transaction hashes and its output and input rows."""

from __future__ import annotations

from twinlock.kernels import scan_plain
from twinlock.kernels.scan_plain import (
    HASHX,
    INPUT,
    OUTPUT,
    Scan,
    ScanError,
    ScannedTx,
    hashx,
    scan_tx,
    unspendable,
)
from twinlock.kernels.sha256d import sha256d

try:
    from twinlock.kernels import _scan
except ImportError:
    scan_block, tx_hash, unmask = scan_plain.scan_block, scan_plain.tx_hash, scan_plain.unmask
else:
    tx_hash, unmask = _scan.tx_hash, _scan.unmask

    def scan_block(raw: bytes, auxpow: bool = False) -> Scan:
        """Read a raw block once. What follows the transactions is not looked at. Raises ScanError."""
        try:
            return Scan(*_scan.scan_block(raw, auxpow))
        except ValueError as error:
            raise ScanError(*error.args) from error


__all__ = [
    "HASHX",
    "INPUT",
    "OUTPUT",
    "Scan",
    "ScanError",
    "ScannedTx",
    "hashx",
    "scan_block",
    "scan_tx",
    "sha256d",
    "tx_hash",
    "unmask",
    "unspendable",
]
