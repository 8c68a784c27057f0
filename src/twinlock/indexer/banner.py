"""The banner: what wallets show of a server. The operator's file is read again each time; a few words are filled in."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from twinlock import __version__
from twinlock.indexer.daemon import DaemonError, DaemonGoneError, NodeCalls
from twinlock.indexer.env import Env

SOFTWARE = f"Twinlock {__version__} (ElectrumX compatible)"
"""One known wallet batches its requests only where this text names a server that it knows."""

_DEFAULT = "You are connected to $SERVER_SUBVERSION."
_LONGEST = 1 << 16


def version_text(number: int) -> str:
    """A node's version as people write it.

    >>> version_text(290500), version_text(210201), version_text(1140700)
    ('29.5.0', '21.2.1', '1.14.7')
    """
    if number >= 1_000_000:
        return f"{number // 1_000_000}.{number // 10_000 % 100}.{number // 100 % 100}"
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def _read(file: Path | None) -> str | None:
    if file is None:
        return None
    with suppress(OSError, UnicodeDecodeError), file.open(encoding="utf-8") as text:
        return text.read(_LONGEST)
    return None


async def banner(env: Env, daemon: NodeCalls, tor: bool) -> str:
    """The text for a wallet; `tor`: for one that comes through Tor."""
    text = (_read(env.tor_banner_file) if tor else None) or _read(env.banner_file) or _DEFAULT
    words = {
        "$SERVER_VERSION": __version__,
        "$SERVER_SUBVERSION": SOFTWARE,
        "$DONATION_ADDRESS": env.donation_address,
    }
    if "$DAEMON_" in text:
        node: dict[str, object] = {}
        with suppress(DaemonError, DaemonGoneError):
            node = await daemon.call("getnetworkinfo")
        number = node.get("version")
        words["$DAEMON_VERSION"] = version_text(number) if isinstance(number, int) else "unknown"
        words["$DAEMON_SUBVERSION"] = str(node.get("subversion", "unknown"))
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text
