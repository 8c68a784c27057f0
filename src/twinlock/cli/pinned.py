"""`twinlock client pin`: what servers showed at the first visit, and what to do when an operator changes it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import click
import tomlkit
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.setting import Setting, ask, pass_setting
from twinlock.cli.showing import table
from twinlock.client import config as configuration
from twinlock.client.control import views
from twinlock.client.errors import ConfigError
from twinlock.client.pins import Pin

EXAMPLES = """
\b
Examples:
  twinlock client pin list
  twinlock client pin forget electrum.example:50002
  twinlock client pin forget exchange.example:7232
  twinlock client pin replace exchange.example:7232 new.cert
"""


@click.group(cls=ExampledGroup, epilog=EXAMPLES)
def pin() -> None:
    """Certificates and keys of servers as first seen. Another one stops the conversation, until you say otherwise."""


@pin.command("list")
@pass_setting
def pin_list(setting: Setting) -> None:
    """Every pinned certificate of an Electrum server, and the key of every exchange."""
    found = ask(setting, lambda remote: remote.get("/pins", list[Pin]))
    setting.show(
        found, lambda: table(["server", "kind", "shown"], [[row.server, row.kind, row.shown] for row in found])
    )


@pin.command("forget")
@click.argument("server", metavar="HOST:PORT")
@pass_setting
def pin_forget(setting: Setting, server: str) -> None:
    """Forget what a server showed; what it shows next is pinned.

    Ask its operator first. Under another key of an exchange your account there is another one, with bonds of its own;
    bonds under the old key come back at their lock time.
    """
    found = ask(setting, lambda remote: remote.delete(f"/pins/{quote(server, safe='')}", views.Accepted))
    setting.show(found, lambda: table(["forgotten"], [[server]]))


@pin.command("replace")
@click.argument("server", metavar="HOST:PORT")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_setting
def pin_replace(setting: Setting, server: str, file: Path) -> None:
    """Pin the certificate in FILE (PEM) for an exchange; it counts from the next start on."""
    document = tomlkit.parse(setting.path.read_text())
    rows = [row for row in document.get("servers", []) if row["host"] == server]
    if not rows:
        raise ConfigError(f"no server {server!r} in the configuration", fix="name one of [[servers]]")
    told = {"server": server, "certificate": str(file.absolute()), "sha256": _fingerprint(file)}
    rows[0]["certificate"] = told["certificate"]
    text = tomlkit.dumps(document)
    configuration.parse(text)
    setting.path.write_text(text)
    setting.show(told, lambda: table(list(told), [list(told.values())]))


def _fingerprint(file: Path) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{file} holds no certificate: {error}", fix="name a PEM file") from error
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
