"""The operator's page: a few static files that talk to the operator's API of the same origin.

They are handed to the server, which shows them behind the operator's password; nothing is loaded from elsewhere.

>>> sorted(pages())
['/', '/icon.svg', '/operator.css', '/operator.js']
"""

from __future__ import annotations

from importlib.resources import files

from twinlock.server.admin.api import Page

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/operator.js": ("operator.js", "text/javascript; charset=utf-8"),
    "/operator.css": ("operator.css", "text/css; charset=utf-8"),
}


def pages() -> dict[str, Page]:
    """The files of the page, by path."""
    folder = files("twinlock.web") / "static" / "operator"
    return {path: Page(kind, (folder / name).read_bytes()) for path, (name, kind) in _FILES.items()}
