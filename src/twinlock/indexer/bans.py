"""Bans: addresses, networks and hosts that the operator wants to have nothing to do with. Kept in a file."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from twinlock.errors import TwinlockError
from twinlock.indexer.costs import Address
from twinlock.indexer.kept_list import keep_list, read_list


class BanError(TwinlockError):
    """A ban that cannot be."""

    code = "indexer.ban"
    fault = "user"


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def host_matches(host: str, pattern: str) -> bool:
    """Whether a host's name is meant; a pattern may begin with ``*.``.

    >>> host_matches("a.evil.org", "*.evil.org"), host_matches("evil.org", "*.evil.org"), host_matches("b", "b")
    (True, True, True)
    """
    host, pattern = host.lower().rstrip("."), pattern.lower()
    if pattern.startswith("*."):
        return host == pattern[2:] or host.endswith(pattern[1:])
    return host == pattern


class Bans:
    """The list. Without a file it is forgotten at the end."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._networks: set[Network] = set()
        self._hosts: set[str] = set()
        if file is not None and file.exists():
            try:
                for text in read_list(file):
                    self._take(text)
            except (OSError, msgspec.MsgspecError) as error:
                raise BanError(f"{file} cannot be read: {error}", fix="mend or remove the file") from error

    def _take(self, text: str) -> str:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            host = text.lower().rstrip(".")
            if not host or not all(part.isascii() and part for part in host.split(".")) or "/" in host or " " in host:
                raise BanError(f"{text!r} is neither an address, nor a network, nor a host") from None
            self._hosts.add(host)
            return host
        self._networks.add(network)
        return str(network)

    def ban(self, text: str) -> str:
        """Add an address, a network (198.51.100.0/24) or a host (``*.example.org``); as it is kept.

        Raises BanError; with the code ``indexer.ban.not_kept`` it is in force nevertheless.
        """
        kept = self._take(text)
        self._save()
        return kept

    def unban(self, text: str) -> bool:
        """Take one back; whether it was there. Raises BanError as `ban` does."""
        before = len(self)
        self._hosts.discard(text.lower().rstrip("."))
        with suppress(ValueError):
            self._networks.discard(ipaddress.ip_network(text, strict=False))
        self._save()
        return len(self) < before

    def __len__(self) -> int:
        return len(self._hosts) + len(self._networks)

    def rows(self) -> list[str]:
        """All of them, as text."""
        return sorted(map(str, self._networks)) + sorted(self._hosts)

    def allows(self, address: Address | None) -> bool:
        """Whether somebody from there may come in."""
        return address is None or not any(address in network for network in self._networks)

    def allows_host(self, host: str, addresses: Iterable[Address] = ()) -> bool:
        """Whether that server may be listed."""
        return not any(host_matches(host, pattern) for pattern in self._hosts) and all(map(self.allows, addresses))

    def _save(self) -> None:
        if self._file is not None:
            try:
                keep_list(self._file, self.rows())
            except OSError as error:
                raise BanError(
                    f"it holds from now on, but not over a restart: {self._file} cannot be written: {error}",
                    code="indexer.ban.not_kept",
                    fault="machine",
                    fix="mend the disk, and say it again",
                ) from error
