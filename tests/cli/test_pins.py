"""A certificate that changed: told clearly, forgotten or replaced by command, and then taken."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result
from tests.cli.client_command import init
from tests.client.test_link import certificate

from twinlock.cli.main import main
from twinlock.client.config import load
from twinlock.client.errors import LinkClosedError
from twinlock.client.events import Notice, until
from twinlock.client.link import websocket_dialer
from twinlock.client.pins import StoredPins
from twinlock.client.store import SqliteStore
from twinlock.client.store.records import AccountRecord
from twinlock.client.trader import Trader
from twinlock.electrum.errors import CertificateChangedError
from twinlock.electrum.transport import Dialer, Endpoint
from twinlock.seams import SeededEntropy

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse"
CONFIG = """
data_dir = "{folder}/data"
network = "regtest"
wallets = []
[[servers]]
host = "127.0.0.1:{port}"
certificate = "{folder}/first.pem"
"""


@asynccontextmanager
async def tls_server(folder: Path, name: str, port: int = 0) -> AsyncIterator[int]:
    """Shows the certificate of that name, and says nothing; the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(silent, "127.0.0.1", port, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(PASSWORD)
    for name in ("first", "second"):
        certificate(tmp_path, name)
    (tmp_path / "twinlock.toml").write_text(CONFIG.format(folder=tmp_path, port=7232))
    init(tmp_path / "twinlock.toml")
    return tmp_path


def run(folder: Path, *arguments: str, form: str = "--json") -> Result:
    options = ["client", "--config", str(folder / "twinlock.toml"), "--password-file", str(folder / "password")]
    return CliRunner().invoke(main, [*options, *([form] if form else []), *arguments])


async def command(folder: Path, *arguments: str) -> Result:
    """The same from inside a loop."""
    return await anyio.to_thread.run_sync(run, folder, *arguments)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(folder / "data", PASSWORD, SeededEntropy(1))
    try:
        yield store
    finally:
        store.close()


async def test_an_electrum_servers_new_certificate_is_taken_once_the_old_one_is_forgotten(folder: Path) -> None:
    async with tls_server(folder, "first") as port:
        endpoint = Endpoint.parse(f"ssl://127.0.0.1:{port}")
        async with opened(folder) as store:
            await (await Dialer(pins=StoredPins(store))(endpoint)).close()
    (row,) = json.loads((await command(folder, "pin", "list")).stdout)
    assert (row["server"], row["kind"], len(row["shown"])) == (f"127.0.0.1:{port}", "electrum", 64)
    async with tls_server(folder, "second", port):
        async with opened(folder) as store:
            with pytest.raises(CertificateChangedError):
                await Dialer(pins=StoredPins(store))(endpoint)
        forgotten = await command(folder, "pin", "forget", f"127.0.0.1:{port}")
        assert forgotten.exit_code == 0, forgotten.output
        async with opened(folder) as store:
            await (await Dialer(pins=StoredPins(store))(endpoint)).close()
    (now,) = json.loads((await command(folder, "pin", "list")).stdout)
    assert now["shown"] != row["shown"]
    again = await command(folder, "pin", "forget", "nobody:1")
    assert (again.exit_code, "pin.unknown" in again.output) == (1, True)


async def test_the_client_names_the_command_when_a_pin_does_not_match(folder: Path) -> None:
    async with tls_server(folder, "second") as port:
        async with opened(folder) as store:
            StoredPins(store).put(f"127.0.0.1:{port}", ssl.PEM_cert_to_DER_cert((folder / "first.pem").read_text()))
        text = (folder / "twinlock.toml").read_text().partition("[[servers]]")[0]
        wallet = f'[[wallets]]\nsymbol = "btc"\nelectrum = ["ssl://127.0.0.1:{port}"]\n'
        (folder / "twinlock.toml").write_text(text.replace("wallets = []", "") + wallet)
        trader = Trader(load(folder / "twinlock.toml"), PASSWORD)
        events = trader.events()
        entering = asyncio.create_task(trader.__aenter__())
        told = await until(events, Notice, level="warning")
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        assert isinstance(told, Notice)
        assert "electrum.certificate_changed" in told.text
        assert f"twinlock client pin forget 127.0.0.1:{port}" in told.text


async def test_an_exchanges_new_certificate_is_pinned_by_command(folder: Path) -> None:
    async with tls_server(folder, "second") as port:
        (folder / "twinlock.toml").write_text(CONFIG.format(folder=folder, port=port))
        with pytest.raises(LinkClosedError) as refused:
            await websocket_dialer(load(folder / "twinlock.toml").servers[0])()
        assert refused.value.code == "session.certificate"
        assert f"twinlock client pin replace 127.0.0.1:{port} FILE" in refused.value.fix
    replaced = await command(folder, "pin", "replace", f"127.0.0.1:{port}", str(folder / "second.pem"))
    assert replaced.exit_code == 0, replaced.output
    assert load(folder / "twinlock.toml").servers[0].certificate == str(folder / "second.pem")
    (folder / "junk").write_text("no certificate")
    for wrong in (("127.0.0.1:1", "second.pem"), (f"127.0.0.1:{port}", "junk")):
        result = await command(folder, "pin", "replace", wrong[0], str(folder / wrong[1]))
        assert (result.exit_code, "client.config" in result.output) == (1, True)


async def test_the_key_of_an_exchange_is_a_pin_too(folder: Path) -> None:
    async with opened(folder) as store:
        store.put(AccountRecord(host="e:1", server_pubkey=b"\x02" * 33, key_index=0, account_id=b"\x01" * 32))
    (row,) = json.loads((await command(folder, "pin", "list")).stdout)
    assert row == {"server": "e:1", "kind": "exchange", "shown": "02" * 33}
    table = await anyio.to_thread.run_sync(partial(run, folder, "pin", "list", form=""))
    assert "02" * 33 in table.stdout, "what is no terminal gets lines that are whole"
    assert (await command(folder, "pin", "forget", "e:1")).exit_code == 0
    assert json.loads((await command(folder, "pin", "list")).stdout) == []
