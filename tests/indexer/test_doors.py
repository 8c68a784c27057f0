"""The other doors: TLS, WebSocket, the operator's commands, metrics; and what keeps guests in bounds."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from tests.indexer.wire import Wallet, ended
from tests.indexer.worlds import SCRIPT, World, name, world
from websockets.exceptions import ConnectionClosedError

from twinlock.chain.coins import coin
from twinlock.indexer.bans import BanError, Bans
from twinlock.indexer.certificate import Certificate, make_certificate
from twinlock.indexer.controller import Controller
from twinlock.indexer.daemon import DaemonGoneError
from twinlock.indexer.doors import DoorError, try_doors
from twinlock.indexer.env import Env, EnvError, Service
from twinlock.indexer.local_rpc import LocalRPC
from twinlock.indexer.lock import DirectoryError, DirectoryLock
from twinlock.indexer.methods import RpcError
from twinlock.indexer.metrics import MetricsServer
from twinlock.indexer.peer_network import RealNetwork
from twinlock.indexer.peers import PeerError, PeerManager
from twinlock.indexer.trouble import DISK, UNEXPECTED, Troubles
from twinlock.indexer.web_sockets import Lines
from twinlock.seams import SeededEntropy, SystemClock, VirtualClock
from twinlock.simnet.ports import free_ports

HELLO = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "server.version", "params": ["x", "1.4"]})
TIP = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "blockchain.headers.subscribe", "params": []})


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    make_certificate(tmp_path / "cert", tmp_path / "key", SystemClock())
    return Certificate(tmp_path / "cert", tmp_path / "key")


@pytest.mark.anyio
async def test_the_same_answers_through_tls(certificate: Certificate) -> None:
    (port,) = free_ports(1)
    async with world() as w:
        await w.manager.listen([Service("ssl", "127.0.0.1", port)], certificate)
        wallet = Wallet(*await asyncio.open_connection("127.0.0.1", port, ssl=trusting()))
        await wallet.call("server.version", "x", "1.4")
        assert (await wallet.call("blockchain.headers.get_tip"))["height"] == 11
        wallet.close()


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", ["ws", "wss"])
async def test_the_same_answers_through_websockets(protocol: str, certificate: Certificate) -> None:
    (port,) = free_ports(1)
    async with world() as w:
        await w.manager.listen([Service(protocol, "127.0.0.1", port)], certificate)
        context = trusting() if protocol == "wss" else None
        async with websockets.connect(f"{protocol}://127.0.0.1:{port}", ssl=context) as connection:
            await connection.send(HELLO)
            assert json.loads(await connection.recv())["result"][1] == "1.4"
            await connection.send(TIP)
            assert json.loads(await connection.recv())["result"]["height"] == 11
            w.grow()
            assert json.loads(await connection.recv())["params"][0]["height"] == 12


@pytest.mark.anyio
async def test_a_door_with_tls_needs_a_certificate() -> None:
    async with world() as w:
        with pytest.raises(EnvError, match="certificate"):
            await w.manager.listen([Service("ssl", "127.0.0.1", 1)])


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", ["tcp", "ws", "rpc", "http"])
async def test_an_address_that_is_taken_is_named(protocol: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service = Service(protocol, "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(DoorError, match=f"{service}: "):
            try_doors([service])
        env = Env(
            coin="btc", network="regtest", daemon_url="http://127.0.0.1:1", data_dir=tmp_path, services=(service,)
        )
        controller = Controller(env, VirtualClock(), SeededEntropy(1))
        with pytest.raises(DoorError, match="already in use"):  # though there is no node yet
            await controller.run(lambda _: None)


def test_a_data_directory_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryError, match="cannot be used"):
        DirectoryLock(tmp_path / "file")


class Desk:
    """What LocalRPC and the metrics see of a controller."""

    def __init__(self, w: World) -> None:
        self.bans = w.shared.bans
        env = Env(network="mainnet", data_dir=Path())
        self.peers = PeerManager(
            env, coin("btc", "mainnet"), w.storage, SystemClock(), SeededEntropy(1), RealNetwork(), self.bans
        )
        self.sessions, self.shared = w.manager, w.shared
        self.storage, self.view, self.mempool = w.storage, w.view, w.mempool
        self.ready = False
        self.troubles = Troubles(SystemClock())
        self.stop = asyncio.Event()


@pytest.mark.anyio
async def test_the_operator_sees_and_ends_sessions() -> None:
    async with world() as w:
        rpc = LocalRPC(Desk(w))  # type: ignore[arg-type]
        wallet = await Wallet.connect(w.port)
        await wallet.call("blockchain.scripthash.subscribe", name(SCRIPT))
        (row,) = await rpc.call("sessions", [])
        assert (row["client"], row["protocol"], row["subscriptions"], row["requests"]) == ("test", "1.4", 1, 2)
        (group,) = await rpc.call("groups", [])
        assert group["name"] == "127.0.0.0/24"
        (found,) = await rpc.call("query", [SCRIPT.hex()])
        assert found["balance"] == w.view.balance(bytes.fromhex(name(SCRIPT))[:20:-1])
        for command, words in (("disconnect", []), ("log", ["waht"])):
            with pytest.raises(RpcError, match="number"):
                await rpc.call(command, words)
        assert await rpc.call("disconnect", [row["id"]]) == [row["id"]]
        assert await wallet.ended()
        with pytest.raises(RpcError, match="no command"):
            await rpc.call("dance", [])
        with pytest.raises(RpcError):
            await rpc.call("getinfo", [1])


@pytest.mark.anyio
async def test_a_ban_ends_sessions_also_where_it_cannot_be_kept(tmp_path: Path) -> None:
    async with world() as w:
        desk = Desk(w)
        desk.bans = w.shared.bans = Bans(tmp_path / "nowhere" / "bans.json")
        wallet = await Wallet.connect(w.port)
        with pytest.raises(BanError, match="not over a restart"):
            await LocalRPC(desk).call("ban", ["127.0.0.1"])  # type: ignore[arg-type]
        assert await wallet.ended()


@pytest.mark.anyio
async def test_the_operator_chooses_whose_requests_are_logged() -> None:
    async with world() as w:
        rpc = LocalRPC(Desk(w))  # type: ignore[arg-type]
        wallets = [await Wallet.connect(w.port) for _ in range(2)]
        assert await rpc.call("log", ["all"]) == [1, 2]
        assert await rpc.call("log", [1]) == [2]
        assert await rpc.call("log", ["none"]) == []
        assert await rpc.call("log", ["new"]) == []
        wallets.append(await Wallet.connect(w.port))
        assert await rpc.call("log", []) == [3]
        assert await rpc.call("log", ["none"]) == []
        wallets.append(await Wallet.connect(w.port))
        assert await rpc.call("log", []) == []
        for wallet in wallets:
            wallet.close()


@pytest.mark.anyio
async def test_the_operator_is_told_how_a_command_is_used() -> None:
    (port,) = free_ports(1)
    async with world() as w:
        desk = Desk(w)
        rpc = LocalRPC(desk)  # type: ignore[arg-type]
        with pytest.raises(RpcError, match="not complete yet"):
            await rpc.call("reorg", [2])
        with pytest.raises(PeerError, match="'5' is not a peer"):
            await rpc.call("add_peer", [5])
        for command, params, told in (
            ("stop", [1], "too many positional arguments; use it as: stop"),
            ("reorg", [1, 2], "too many positional arguments; use it as: reorg count"),
            ("reorg", ["x"], "how many blocks should be a number from 1 on"),
            ("reorg", [True], "how many blocks should be a number from 1 on"),
            ("query", ["--limit"], "--limit needs a number; use it as: query --limit 20 address"),
            ("query", ["--limit", -1], "--limit needs a number; use it as: query --limit 20 address"),
        ):
            with pytest.raises(RpcError) as refused:
                await rpc.call(command, params)
            assert (refused.value.number, str(refused.value)) == (-32602, told)
        (found,) = await rpc.call("query", ["--limit", "1", SCRIPT.hex()])
        assert (len(found["history"]), found["history_size"] > 1) == (1, True)
        await rpc.start(Service("rpc", "127.0.0.1", port))
        door = Wallet(*await asyncio.open_connection("127.0.0.1", port))
        reply = await door.exchange(b'{"id":1,"method":"getinfo"}\n')  # this desk cannot tell all of it
        assert reply["error"]["code"] == -32603
        assert (await door.exchange(b'{"id":2,"method":"groups"}\n'))["result"] == [], "the door stays open"
        door.close()
        browser = Wallet(*await asyncio.open_connection("127.0.0.1", port))
        post = b'POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\n{"method":"stop"}\n'
        assert (await browser.exchange(post))["error"]["code"] == -32600
        assert await browser.ended()
        assert not desk.stop.is_set(), "no page of a browser gives commands"
        rpc.close()


@pytest.mark.anyio
async def test_the_operator_keeps_guests_and_peers_away() -> None:
    async with world() as w:
        rpc = LocalRPC(Desk(w))  # type: ignore[arg-type]
        wallet = await Wallet.connect(w.port)
        assert await rpc.call("add_peer", ["new.example", "v1.4", "s", "t50003"]) == "new.example will be looked at"
        row = next(row for row in await rpc.call("peers", []) if row["host"] == "new.example")
        assert (row["state"], row["doors"]) == ("never", ["ssl://new.example:50002", "tcp://new.example:50003"])
        assert await rpc.call("ban", ["127.0.0.0/8", "new.example"]) == ["127.0.0.0/8", "new.example"]
        assert await wallet.ended()
        assert "new.example" not in [row["host"] for row in await rpc.call("peers", [])]
        again = Wallet(*await asyncio.open_connection("127.0.0.1", w.port))
        assert await again.ended()
        assert await rpc.call("listbanned", []) == ["127.0.0.0/8", "new.example"]
        with pytest.raises(PeerError):
            await rpc.call("add_peer", ["new.example", "t"])
        assert await rpc.call("unban", ["127.0.0.0/8", "8.8.8.8"]) == ["127.0.0.0/8"]
        (await Wallet.connect(w.port)).close()


@pytest.mark.anyio
async def test_the_operators_door_opens_on_loopback_only() -> None:
    async with world() as w:
        with pytest.raises(EnvError, match="loopback"):
            await LocalRPC(Desk(w)).start(Service("rpc", "0.0.0.0", 1))  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "head", [b"", b"\0\r\n\r\n", b"GET \xff HTTP/1.1\r\n\r\n", b"GET /" + b"x" * 40_000 + b"\r\n\r\n"]
)
async def test_nonsense_ends_a_conversation_about_health_and_nothing_else(head: bytes) -> None:
    (port,) = free_ports(1)
    wrong: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    async with world() as w:
        server = MetricsServer(Desk(w))  # type: ignore[arg-type]
        await server.start(Service("http", "127.0.0.1", port))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        writer.write_eof()
        assert await ended(reader)
        writer.close()
        server.close()
    assert not wrong


@pytest.mark.anyio
async def test_metrics_and_health() -> None:
    (port,) = free_ports(1)
    async with world() as w:
        desk = Desk(w)
        server = MetricsServer(desk)  # type: ignore[arg-type]
        await server.start(Service("http", "127.0.0.1", port))
        wallet = await Wallet.connect(w.port)
        await wallet.call("server.ping")

        def get(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        status, text = await asyncio.to_thread(get, "/metrics")
        assert status == 200
        assert "twinlock_indexer_height 11.0" in text
        assert 'twinlock_indexer_requests_total{method="server.ping"} 1.0' in text
        assert (await asyncio.to_thread(get, "/healthz"))[0] == 200
        assert (await asyncio.to_thread(get, "/readyz"))[0] == 503
        desk.ready = True
        assert (await asyncio.to_thread(get, "/readyz"))[0] == 200
        assert (await asyncio.to_thread(get, "/nothing"))[0] == 404
        desk.troubles.tell("following", DaemonGoneError("no node"))
        desk.troubles.tell("upkeep", OSError(errno.ENOSPC, "no space left"))
        assert await asyncio.to_thread(get, "/readyz") == (
            503,
            "in trouble: no node; the disk refuses: [Errno 28] no space left\n",
        )
        assert (await asyncio.to_thread(get, "/healthz"))[1].startswith("ok, in trouble: no node")
        _, text = await asyncio.to_thread(get, "/metrics")
        assert 'twinlock_indexer_trouble{code="indexer.disk"} 1.0' in text
        assert 'twinlock_indexer_trouble{code="indexer.daemon.gone"} 1.0' in text
        for work in ("following", "upkeep"):
            desk.troubles.over(work)
        assert await asyncio.to_thread(get, "/readyz?why") == (200, "ready\n")
        desk.troubles.tell("certificate", OSError("no such file"), grave=False)  # the one before is in use
        assert await asyncio.to_thread(get, "/readyz") == (200, "ready\n")
        w.manager.hold()
        assert await asyncio.to_thread(get, "/readyz") == (200, "ready\n")  # it takes a moment, as a rule
        w.manager.refuse()
        assert await asyncio.to_thread(get, "/readyz") == (503, "busy: the index is between two chains\n")
        server.close()
        wallet.close()


@pytest.mark.anyio
async def test_a_trouble_lasts_from_its_first_moment_and_says_what_to_do() -> None:
    clock = VirtualClock()
    troubles = Troubles(clock)
    for error, code, fix in (
        (DaemonGoneError("away", fix="start the node"), "indexer.daemon.gone", "start the node"),
        (OSError(errno.EFBIG, "too large"), DISK, "free some space"),
        (OSError(errno.EIO, "broken"), DISK, "look at the disk"),
        (KeyError("height"), UNEXPECTED, "report this, with the log"),
    ):
        troubles.tell("following", error)
        began = clock.monotonic()
        await clock.advance(5)
        troubles.tell("following", error)
        (trouble,) = troubles.now
        assert (trouble.code, trouble.fix, trouble.since) == (code, fix, began)
    troubles.over("following")
    assert (troubles.now, troubles.text) == ([], "")


@pytest.mark.anyio
async def test_sessions_beyond_the_limit_and_silent_ones_are_ended() -> None:
    async with world(max_sessions=1) as w:
        first = await Wallet.connect(w.port)
        second = Wallet(*await asyncio.open_connection("127.0.0.1", w.port))
        assert await second.ended()
        w.manager.look_after()
        assert await first.call("server.ping") is None
        for session in w.shared.sessions:
            session.last_heard -= 1000
        w.manager.look_after()
        assert await first.ended()


class Stalled:
    """A WebSocket whose other side asks and asks but never reads."""

    remote_address = ("127.0.0.1", 1)

    def __init__(self) -> None:
        self.transport = self
        self.taken = 0
        self._ended = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[str]:
        yield HELLO
        ask = {"jsonrpc": "2.0", "id": 3, "method": "blockchain.block.headers", "params": [0, 12]}
        while not self._ended.is_set():
            self.taken += 1
            yield json.dumps(ask)

    async def send(self, _: str) -> None:
        await self._ended.wait()
        raise ConnectionClosedError(None, None)

    def abort(self) -> None:
        self._ended.set()


@pytest.mark.anyio
async def test_a_websocket_that_does_not_read_is_not_filled_without_end() -> None:
    async with world() as w:
        connection = Stalled()
        session = w.manager.session()
        running = asyncio.create_task(Lines(connection, session).run())  # type: ignore[arg-type]
        for _ in range(5000):
            if session.stuck_since is not None:
                break
            await asyncio.sleep(0)
        assert session.stuck_since is not None
        taken = connection.taken
        for _ in range(50):
            await asyncio.sleep(0)
        assert connection.taken <= taken + 1, "it is not read from either"
        session.stuck_since -= 31
        w.manager.look_after()
        await asyncio.wait_for(running, 5)
        assert not w.shared.sessions
