"""The trader's page: a few static files that the client serves, and that talk to its interface with a key.

Nothing is loaded from elsewhere, and the files hold no secret: the key comes in the address's fragment, which no server
sees.

>>> sorted(pages())
['/', '/api.js', '/book.js', '/draw.js', '/icon.svg', '/ticket.js', '/trader.css', '/trader.js', '/units.js']
"""

from __future__ import annotations

from importlib.resources import files

from twinlock.client.control.pages import Page

_SCRIPT, _STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/api.js": ("api.js", _SCRIPT),
    "/book.js": ("book.js", _SCRIPT),
    "/draw.js": ("draw.js", _SCRIPT),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/ticket.js": ("ticket.js", _SCRIPT),
    "/trader.css": ("trader.css", _STYLE),
    "/trader.js": ("trader.js", _SCRIPT),
    "/units.js": ("units.js", _SCRIPT),
}


def pages() -> dict[str, Page]:
    """The files of the page, by path."""
    folder = files("twinlock.web") / "static" / "trader"
    return {path: Page(kind, (folder / name).read_bytes()) for path, (name, kind) in _FILES.items()}
