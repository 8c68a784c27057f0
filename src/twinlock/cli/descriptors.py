"""Open files: each connection takes one, and a shell allows fewer by default than the system does."""

from __future__ import annotations

import resource


def take_all() -> None:
    """Allow this process as many as the system lets it have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
