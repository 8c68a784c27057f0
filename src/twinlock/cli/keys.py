"""`twinlock client key`, `api` and `completion`: what programs and shells need."""

from __future__ import annotations

import click
import msgspec
from click.shell_completion import get_completion_class

from twinlock.cli.examples import ExampledGroup
from twinlock.cli.setting import Setting, ask, pass_setting, tell
from twinlock.cli.showing import table
from twinlock.client.control import requests, views
from twinlock.client.control.openapi import document
from twinlock.client.control.remote import Remote
from twinlock.client.control.serve import find
from twinlock.client.keyring import SCOPES, Scope

KEY_EXAMPLES = """
\b
Examples:
  twinlock client key create bot --scope read --scope trade > bot.key
  twinlock client key list
  twinlock client key revoke bot
"""


@click.group(cls=ExampledGroup, epilog=KEY_EXAMPLES)
def key() -> None:
    """Keys for programs that use the local interface."""


@key.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    default=("read",),
    show_default=True,
    help="What it may.",
)
@pass_setting
def key_create(setting: Setting, name: str, scopes: tuple[Scope, ...]) -> None:
    """Make a key and print it, this once."""
    wanted = requests.NewKey(name, list(scopes))
    found = ask(setting, lambda remote: remote.post("/keys", views.KeyView, wanted))
    if setting.as_json:
        click.echo(msgspec.json.encode(found))
    else:
        click.echo(found.key)


@key.command("list")
@pass_setting
def key_list(setting: Setting) -> None:
    """Names and scopes."""
    found = ask(setting, lambda remote: remote.get("/keys", list[views.KeyView]))
    setting.show(found, lambda: table(["key", "scopes"], [[row.name, " ".join(row.scopes)] for row in found]))


@key.command("revoke")
@click.argument("name")
@pass_setting
def key_revoke(setting: Setting, name: str) -> None:
    """From now on the key opens nothing."""
    found = ask(setting, lambda remote: remote.delete(f"/keys/{name}", views.Accepted))
    setting.show(found, lambda: table(["revoked"], [[name]]))


PAGE_KEY = "page"
"""Name of the key that the browser gets."""

PAGE_EXAMPLES = """
\b
Examples:
  twinlock client page
  twinlock client page --look
"""


@click.command(epilog=PAGE_EXAMPLES)
@click.option("--look", is_flag=True, help="Let it look, not trade.")
@pass_setting
def page(setting: Setting, *, look: bool) -> None:
    """Print the address of the trader's page, with a fresh key behind the #. Needs the daemon.

    A page that was opened before loses its key. Paying out is never possible from the page.
    """
    scopes: list[Scope] = ["read"] if look else ["read", "trade"]

    async def fresh(remote: Remote) -> views.KeyView:
        if PAGE_KEY in {row.name for row in await remote.get("/keys", list[views.KeyView])}:
            await remote.delete(f"/keys/{PAGE_KEY}", views.Accepted)
        return await remote.post("/keys", views.KeyView, requests.NewKey(PAGE_KEY, scopes))

    made = tell(setting, fresh)
    address = find(setting.config().folder)
    assert address is not None, "it just answered"
    url = f"{address.url}/#{made.key}"
    if setting.as_json:
        click.echo(msgspec.json.encode({"url": url, "scopes": scopes}))
    else:
        click.echo(url)


@click.command()
def api() -> None:
    """Print the OpenAPI 3.1 document of the local interface."""
    click.echo(msgspec.json.format(msgspec.json.encode(document()), indent=1))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what a shell needs to complete commands: eval "$(twinlock client completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "twinlock", "_TWINLOCK_COMPLETE").source())
