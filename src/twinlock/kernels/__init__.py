"""The hot loops, compiled, each beside a slow twin in plain Python.

Every module here works without a compiler: it exposes the compiled function where the extension is
there and the twin where it is not. The twin is always importable under a name that ends in ``_plain``
(`Plain` for classes), and tests hold the two equal. Kernels are pure: bytes in, bytes out, but for matching, which is
given orders. The one for batches of signatures has its twin, and what picks, one layer up: `twinlock.chain.keys` and
`twinlock.chain.signatures`.

>>> from twinlock.kernels.blake256 import blake256
>>> blake256(b"").hex()[:16]
'716f6e863f744b9a'
"""

from __future__ import annotations


def compiled() -> bool:
    """Whether the compiled hash kernels are in use, rather than the slower plain twins."""
    try:
        from twinlock.kernels import _hashes  # noqa: F401
    except ImportError:
        return False
    return True
