"""An operator's day, with the commands themselves: set up, look over, run, change, restart while people trade."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomlkit
from tests.server.live_world import Indexer, LiveServer, PaidChain, admin, command, indexers, set_up
from tests.server.trader import Trader

from twinlock.chain.bip32 import HDKey
from twinlock.chain.coins import Network, coin
from twinlock.protocol import routes
from twinlock.protocol.constants import PREPAID_ASSET_ID
from twinlock.protocol.orders import Side
from twinlock.server.config import load_config
from twinlock.server.keyfile import KeyFileError, open_signing_key
from twinlock.server.process import ClaimError, State, claimed, running

pytestmark = pytest.mark.anyio

BTC, LTC = (coin(symbol, Network.REGTEST) for symbol in ("btc", "ltc"))
MARKET = (LTC.asset_id, BTC.asset_id)
RATE = 10_000_000


@pytest.fixture
async def chains(anyio_backend: str) -> AsyncIterator[list[Indexer]]:
    async with indexers(BTC, LTC) as started:
        yield started


@pytest.fixture
async def live(tmp_path: Path, chains: list[Indexer]) -> AsyncIterator[LiveServer]:
    server = LiveServer(await set_up(tmp_path, chains, "--onion-listen=127.0.0.1:0"))
    await server.start()
    yield server
    await server.stop()


async def trader_of(server: LiveServer, chains: list[Indexer], seed: int) -> Trader:
    """A trader with a prepaid bond, logged in."""
    state = running(server.data)
    assert state is not None
    own: Any = {indexer.chain.coin.asset_id: indexer.chain for indexer in chains}
    certificate = server.data / "tls" / "server.cert"
    trader = Trader(f"wss://localhost:{state.ports['listen']}/ws", certificate, own, seed)
    await trader.open()
    [code] = await admin(server, "prepaid-bonds", "--strength", "4")
    await trader.post_bond(PREPAID_ASSET_ID, bytes.fromhex(code))
    await trader.connect()
    return trader


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def test_init_makes_a_whole_exchange_and_overwrites_nothing(tmp_path: Path, chains: list[Indexer]) -> None:
    path = await set_up(tmp_path, chains, "--name=dex.example", "--market=ltc_btc")
    config = load_config(path)
    assert [market.name for market in config.markets] == ["ltc_btc"]
    assert config.asset("btc").electrum == (chains[0].url,)
    text = path.read_text()
    assert sum("#" in line for line in text.splitlines()) > 15
    key = tmp_path / "data" / "signing.key.json"
    for secret in (key, tmp_path / "key-password", tmp_path / "admin-password", tmp_path / "data/tls/server.key"):
        assert secret.stat().st_mode & 0o077 == 0
    open_signing_key(key, config.server.key_password())
    with pytest.raises(KeyFileError):
        open_signing_key(key, "")
    unit = (tmp_path / "twinlock-server.service").read_text()
    assert f"server run --config {path}" in unit
    assert "ExecReload=/bin/kill -HUP $MAINPID" in unit
    before = contents(tmp_path)
    code, _, err = await command("init", path, "--yes")
    assert (code, "is there already" in err) == (1, True)
    path.unlink()
    code, _, err = await command("init", path, "--yes")
    assert (code, "is there already" in err) == (1, True)
    assert not path.exists()
    del before[path]
    assert contents(tmp_path) == before


async def test_the_wizard_asks_for_what_is_missing(tmp_path: Path, chains: list[Indexer]) -> None:
    path = tmp_path / "server.toml"
    private = HDKey.from_seed(bytes(32))
    asked = [
        ("regtset", "'regtset' is not one of mainnet, testnet, regtest"),
        ("regtest", ""),
        ("ltc", "'ltc' is no market: write BASE_QUOTE"),
        ("ltc_xyz", "xyz"),
        ("ltc_btc", ""),
        ("localhost", "'localhost' is not an Electrum server's address"),
        (chains[1].url, ""),
        ("xpub", "bond_xpub of ltc"),
        (private.text(LTC), "bond_xpub of ltc is a private key"),
        (private.neuter().text(LTC), ""),
        (chains[0].url, ""),
        ("", ""),
        ("cheap", "not a decimal number: 'cheap'"),
        ("0", "a price of 0 is not above 0"),
        ("0.01", ""),
        ("7999", "server.listen '7999' has no port"),
        ("127.0.0.1:79990", "there is no such port"),
        ("127.0.0.1:7999", ""),
        ("dex.example", ""),
        ("", ""),
        ("", ""),
    ]
    code, out, err = await command("init", path, given="\n".join(answer for answer, _ in asked) + "\n")
    assert code == 0, (out, err)
    told = [line for line in out.splitlines() if line.startswith("Error: ") or ": Error: " in line]
    expected = [complaint for _, complaint in asked if complaint]
    assert len(told) == len(expected)
    assert all(complaint in line for complaint, line in zip(expected, told, strict=True)), told
    code, out, err = await command("init", path)
    assert (code, "Network" in out, "is there already" in err) == (1, False, True)
    config = load_config(path)
    assert config.server.listen == "127.0.0.1:7999"
    assert config.server.names == ("dex.example",)
    assert config.asset("ltc").electrum == (chains[1].url,)


async def findings(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    code, out, _ = await command("doctor", "--config", path, "--json")
    return code, {found["check"]: found for found in json.loads(out)}


def red(found: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, finding in found.items() if not finding["ok"]}


async def test_doctor_is_green_on_a_fresh_exchange_and_beside_a_running_one(
    tmp_path: Path, chains: list[Indexer]
) -> None:
    path = await set_up(tmp_path, chains)
    document: Any = tomlkit.parse(path.read_text())
    document["server"]["max_clients"] = 100
    path.write_text(tomlkit.dumps(document))
    code, found = await findings(path)
    assert (code, red(found)) == (0, set())
    names = {"configuration", "signing key", "certificate dates", "certificate names", "database", "disk space"}
    assert names | {"open files", "port of listen", f"btc indexer {chains[0].url}", "btc indexers agree"} <= set(found)
    server = LiveServer(path)
    await server.start()
    code, found = await findings(path)
    assert (code, red(found)) == (0, set())
    assert "held by the exchange itself" in found["port of listen"]["detail"]
    await server.stop()
    code, text, _ = await command("doctor", "--config", path)
    assert code == 0
    assert "✗" not in text


async def test_doctor_names_each_trouble_and_its_cure(tmp_path: Path, chains: list[Indexer]) -> None:
    path = await set_up(tmp_path, chains)
    held = socket.create_server(("127.0.0.1", 0))
    other = PaidChain(BTC)
    other.mine(120, seconds=601)
    fork = Indexer(other)
    await fork.start()
    document: Any = tomlkit.parse(path.read_text())
    document["server"]["listen"] = f"127.0.0.1:{held.getsockname()[1]}"
    document["server"]["names"] = ["new.example"]
    document["server"]["max_clients"] = 10**9
    document["assets"][0]["electrum"].append("tcp://127.0.0.1:1")
    document["markets"][0]["lot_size"] = 1
    for asset in document["assets"]:
        if asset["symbol"] == "btc":
            asset["electrum"].append(fork.url)
            asset["electrum"].append(chains[1].url)
            asset["bond_amount"] = 1
    path.write_text(tomlkit.dumps(document))
    (tmp_path / "key-password").write_text("wrong\n")
    (tmp_path / "data").chmod(0o755)
    (tmp_path / "data" / "server.db").write_bytes(b"no database at all" * 100)
    code, found = await findings(path)
    held.close()
    await fork.stop()
    assert code == 1
    assert red(found) >= {
        *("data folder", "open files", "port of listen", "signing key", "certificate names", "lot of ltc_btc"),
        *("bond of btc", "database", "btc indexers agree", f"btc indexer {chains[1].url}"),
    }
    assert any("tcp://127.0.0.1:1" in name for name in red(found))
    assert all(found[name]["fix"] for name in red(found))
    path.write_text("[server")
    code, found = await findings(path)
    assert (code, red(found)) == (1, {"configuration"})


async def test_admin_commands_change_a_running_exchange_and_leave_a_record(
    live: LiveServer, chains: list[Indexer]
) -> None:
    trader = await trader_of(live, chains, 1)
    account = trader.account.hex()
    assert await admin(live, "accounts") == [account]
    assert (await admin(live, "account", account))["tier"] == 4
    [market] = await admin(live, "markets")
    assert (market["market"], market["running"]) == ("ltc_btc", True)
    assert (await admin(live, "fee-scale", "btc", "1.5"))["feescale"] == 1.5
    assert await admin(live, "notify", "hello", "--account", account) == {"sent": True}
    assert await trader.note(routes.NOTIFY) == "hello"
    trader.lies = True
    lot = load_config(live.config).markets[0].lot_size
    chain: Any = chains[1].chain
    receipt = await trader.place(
        trader.limit_order(MARKET, Side.SELL, lot, RATE, chain.fund(trader.new_key(), 3 * lot))
    )
    await trader.note(routes.SCORECHANGED)
    told = await admin(live, "explain", account)
    [miss] = told["outcomes"]
    assert (miss["name"], miss["score"], miss["link"]) == ("preimage miss", -2, receipt.order_id.hex())
    told = await admin(live, "orders", account)
    assert [(order["otype"], order["status"], order["byserver"]) for order in told] == [
        (3, "revoked", True),  # the cancel that stands for the revocation
        (1, "revoked", False),
    ]
    assert told[0]["target"] == told[1]["oid"]
    assert (await admin(live, "forgive", account))["forgiven"] is True
    for looking in (
        ["book", "ltc_btc"],
        ["epoch-orders", "ltc_btc"],
        ["matches", "ltc_btc"],
        ["assets"],
        ["outcomes", account],
    ):
        await admin(live, *looking)
        code, out, err = await command("admin", "--config", live.config, *looking)
        assert code == 0, err
        assert out.strip()  # nothing is said as "none"
    assert (await admin(live, "suspend", "ltc_btc"))["market"] == "ltc_btc"
    entries = await admin(live, "audit")
    assert [entry["request"].partition("?")[0].rpartition("/")[2] for entry in entries] == [
        *("suspend", "forgive_user", "notify", "1.5", "prepaybonds")
    ]
    assert all(entry["address"] == "127.0.0.1" and entry["operator"] for entry in entries)
    assert "operator changed something" in live.log.read_text()
    for arguments, expected in (
        (["suspend", "nothing"], 1),
        (["account", "00"], 1),
        (["markets", "too", "many"], 2),
    ):
        code, _, err = await command("admin", "--config", live.config, *arguments)
        assert (code, bool(err)) == (expected, True)
    wrong = live.config.parent / "wrong"
    wrong.write_text("wrong")
    code, _, err = await command("admin", "--config", live.config, "--password-file", wrong, "markets")
    assert (code, "password is wrong" in err) == (3, True)
    await live.stop()
    code, _, err = await command("admin", "--config", live.config, "markets")
    assert (code, "does not answer" in err) == (4, True)
    await trader.shut()


async def test_a_restart_drops_no_epoch_and_refuses_no_connection(live: LiveServer, chains: list[Indexer]) -> None:
    """The order is matched by the new program, from the epoch that the old one had taken it into."""
    trader = await trader_of(live, chains, 2)
    lot = load_config(live.config).markets[0].lot_size
    chain: Any = chains[1].chain
    before = running(live.data)
    assert before is not None
    refused = 0
    again = asyncio.Event()

    async def knock() -> None:
        nonlocal refused
        while not again.is_set():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", before.ports["listen"])
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
            except ConnectionRefusedError:
                refused += 1
            await asyncio.sleep(0.01)

    knocking = asyncio.create_task(knock())
    receipt = await trader.place(
        trader.limit_order(MARKET, Side.SELL, lot, RATE, chain.fund(trader.new_key(), 3 * lot))
    )
    code, out, err = await command("restart", "--config", live.config, "--wait", "200")
    assert (code, "open again" in out) == (0, True), err
    state = running(live.data)
    assert state is not None
    assert (state.pid, state.ports) == (before.pid, before.ports)
    assert state.start > before.start
    again.set()
    await knocking
    assert refused == 0
    await trader.shut()
    await trader.open()
    await trader.connect()
    await trader.booked(receipt.order_id, MARKET)
    assert await admin(live, "outcomes", trader.account.hex(), "--bad") == []
    epochs = [0]
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(20):
        while epochs[-1] * 500 <= state.start:  # until one that only the new program had
            await asyncio.sleep(0.5)
            ledger = (await http.get(f"http://127.0.0.1:{state.ports['onion_listen']}/api/ledger/ltc/btc")).text
            records = [json.loads(line)["record"] for line in ledger.splitlines()]
            epochs = [record["epoch"] for record in records if record["kind"] == "epoch"]
    assert epochs == list(range(epochs[0], epochs[-1] + 1))
    live.config.write_text(live.config.read_text().replace("rate_step = 100", "rate_step = -1"))
    assert live.process is not None
    live.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(30):
        while "restart refused" not in live.log.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert running(live.data) == state
    await trader.shut()


async def test_two_exchanges_never_share_a_folder(tmp_path: Path) -> None:
    with claimed(tmp_path) as claim:
        claim.tell(State(pid=7, start=1))
        assert running(tmp_path) == State(pid=7, start=1)
        with pytest.raises(ClaimError, match="process 7"), claimed(tmp_path):
            pass
    assert running(tmp_path) is None


async def test_onion_clients_speak_plainly_beside_tls(live: LiveServer) -> None:
    state = running(live.data)
    assert state is not None
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{state.ports['onion_listen']}/api/config")
        assert answer.json()["apiver"] == 3
        with pytest.raises(httpx.TransportError):
            await http.get(f"http://127.0.0.1:{state.ports['listen']}/api/config")


async def test_probes_metrics_and_logs(live: LiveServer, chains: list[Indexer]) -> None:
    state = running(live.data)
    assert state is not None
    trader = await trader_of(live, chains, 3)
    lot = load_config(live.config).markets[0].lot_size
    chain: Any = chains[1].chain
    receipt = await trader.place(
        trader.limit_order(MARKET, Side.SELL, lot, RATE, chain.fund(trader.new_key(), 3 * lot))
    )
    await trader.booked(receipt.order_id, MARKET)
    base = f"http://127.0.0.1:{state.ports['onion_listen']}"
    async with httpx.AsyncClient(trust_env=False, base_url=base) as http:
        assert (await http.get("/healthz")).text == "ok\n"
        assert (await http.get("/readyz")).status_code == 200
        text = (await http.get("/metrics")).text
        for line in (
            'twinlock_booked_orders{market="ltc_btc"} 1.0',
            'twinlock_requests_total{code="0",route="limit"} 1.0',
            'twinlock_chain_synced{asset="btc"} 1.0',
            "twinlock_accounts_connected 1.0",
        ):
            assert line in text
        with socket.create_connection(("127.0.0.1", state.ports["onion_listen"])) as rude:
            rude.sendall(b"GET /api/config HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n")
            assert b" 400 " in await asyncio.to_thread(rude.recv, 1_000)
        await chains[0].stop()
        async with asyncio.timeout(30):
            while (await http.get("/readyz")).status_code == 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    greeting, *written = sorted(live.log.read_text().splitlines(), key=lambda line: line.startswith("{"))
    assert greeting.startswith("listening on")
    lines = [json.loads(line) for line in written]
    assert any(line.get("order") == receipt.order_id.hex() and line["event"] == "order accepted" for line in lines)
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)
    await trader.shut()
    assert await live.stop() == 0
    assert "exchange closed" in live.log.read_text()
    assert running(live.data) is None
