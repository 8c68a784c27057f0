"""Calling nodes: cookies that change, several nodes of which one is gone, and where a node lives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.indexer import auxpow

from twinlock.chain.coins import coin
from twinlock.indexer.daemon import Daemon, DaemonError, DaemonGoneError, Guests
from twinlock.indexer.env import EnvError
from twinlock.indexer.node_home import NodeAddress, addresses, find_home
from twinlock.simnet.ports import free_ports
from twinlock.simnet.simulated_node import SimulatedNode

BLOCKS = [block.raw for block in auxpow.chain(5, b"\x51")]


@pytest.mark.anyio
async def test_a_cookie_that_changes_is_read_again(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    async with SimulatedNode(BLOCKS, auxpow=True) as node:
        daemon = Daemon(NodeAddress("127.0.0.1", node.port, cookie=cookie))
        with pytest.raises(DaemonGoneError, match="refuses the user name"):
            await daemon.call("getblockcount")
        for password in ("first", "second"):
            node.user, node.password = "__cookie__", password
            cookie.write_text(f"__cookie__:{password}\n")
            assert await daemon.call("getblockcount") == 4
        daemon.close()


@pytest.mark.anyio
async def test_when_one_node_is_gone_the_next_is_called_and_so_on_in_a_circle() -> None:
    first, second = SimulatedNode(BLOCKS, auxpow=True), SimulatedNode(BLOCKS[:3], auxpow=True)
    daemon = Daemon(first.url, second.url)
    await first.start()
    await second.start()
    assert await daemon.call("getblockcount") == 4
    await first.stop()
    assert await daemon.call("getblockcount") == 2
    assert daemon.port == second.port
    assert await daemon.block(second.tip) == BLOCKS[2]
    await first.start()
    assert await daemon.call("getblockcount") == 2, "the one that works is kept"
    await second.stop()
    assert [await daemon.call("getblockcount") for _ in range(3)] == [4, 4, 4]
    with pytest.raises(DaemonError):
        await daemon.call("dance")
    await first.stop()
    with pytest.raises(DaemonGoneError):
        await daemon.call("getblockcount")
    third = SimulatedNode(BLOCKS[:2], auxpow=True)
    async with third:
        daemon.use([NodeAddress.parse(third.url)])
        assert await daemon.call("getblockcount") == 1
    daemon.close()


@pytest.mark.anyio
async def test_a_node_with_the_wrong_password_counts_as_gone() -> None:
    async with SimulatedNode(BLOCKS, auxpow=True) as closed, SimulatedNode(BLOCKS[:3], auxpow=True) as open_:
        daemon = Daemon(f"http://x:y@127.0.0.1:{closed.port}", open_.url)
        assert await daemon.call("getblockcount") == 2
        daemon.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "within 0.05 s"),
        (b"", "no answer from the node: ."),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no usable length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "no answer from the node: ."),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "no answer from the node: ."),
    ],
)
async def test_why_a_node_counts_as_gone_is_told(answer: bytes | None, reason: str) -> None:
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        if answer is None:
            await over.wait()
        writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    daemon = Daemon(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", patience=0.05)
    with pytest.raises(DaemonGoneError, match=reason) as gone:
        await daemon.call("getblockcount")
    assert gone.value.fix
    over.set()
    server.close()


@pytest.mark.parametrize(
    ("symbol", "network", "folder"),
    [
        ("btc", "mainnet", ".bitcoin"),
        ("btc", "testnet", ".bitcoin/testnet3"),
        ("btc", "testnet4", ".bitcoin/testnet4"),
        ("btc", "regtest", ".bitcoin/regtest"),
        ("ltc", "testnet", ".litecoin/testnet4"),
        ("doge", "regtest", ".dogecoin/regtest"),
    ],
)
def test_where_nodes_live(symbol: str, network: str, folder: str, tmp_path: Path) -> None:
    row = coin(symbol, network)
    assert find_home(row, None, tmp_path).folder == tmp_path / folder
    (address,) = addresses(row, (), None, tmp_path)
    assert (address.host, address.port) == ("127.0.0.1", row.node_rpc_port)
    assert address.cookie == tmp_path / folder / ".cookie"
    assert address.secret() == ""
    (tmp_path / folder).mkdir(parents=True)
    address.cookie.write_text("__cookie__:abc\n")
    assert address.secret() == "__cookie__:abc"


def test_the_nodes_own_settings_are_respected(tmp_path: Path) -> None:
    (tmp_path / ".bitcoin").mkdir()
    (tmp_path / ".bitcoin" / "bitcoin.conf").write_text(
        "rpcuser=u # who\nrpcpassword=p:w\nrpcport=1\n[regtest]\nrpcport=2\n[test]\nrpcport=3\n"
    )
    (main,) = addresses(coin("btc", "mainnet"), (), None, tmp_path)
    (regtest,) = addresses(coin("btc", "regtest"), (), None, tmp_path)
    assert (main.port, main.secret(), regtest.port) == (1, "u:p:w", 2)
    assert NodeAddress.parse(main.url).secret() == "u:p:w"
    assert "p:w" not in repr(main)


def test_a_given_folder_may_be_the_networks_own(tmp_path: Path) -> None:
    (tmp_path / ".cookie").write_text("a:b")
    assert find_home(coin("btc", "regtest"), tmp_path, Path("/nowhere")).folder == tmp_path
    (tmp_path / "regtest").mkdir()
    (tmp_path / "regtest" / ".cookie").write_text("c:d")
    assert find_home(coin("btc", "regtest"), tmp_path, Path("/nowhere")).folder == tmp_path / "regtest"


class Stuck:
    """Implements `NodeCalls`; answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = asyncio.Event()

    async def call(self, method: str, /, *_: Any) -> Any:
        self.asked += 1
        await self.answer.wait()
        return method

    async def raw(self, method: str, /, *params: Any) -> bytes:
        return str(await self.call(method, *params)).encode()


@pytest.mark.anyio
async def test_wallets_leave_connections_to_what_follows_the_node() -> None:
    node = Stuck()
    guests = Guests(node)
    asking = [asyncio.create_task(guests.call("a") if n % 2 else guests.raw("a")) for n in range(40)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert node.asked == 6, "of eight"
    node.answer.set()
    assert set(await asyncio.gather(*asking)) == {"a", b"a"}


def test_addresses_that_are_none() -> None:
    with pytest.raises(EnvError):
        NodeAddress.parse("http://h:99999999")
    for url in ("https://u:secret@h:1", "ftp://u:secret@h"):
        with pytest.raises(EnvError, match="called by http") as error:
            NodeAddress.parse(url)
        assert "secret" not in str(error.value)
    (port,) = free_ports(1)
    assert str(NodeAddress.parse(f"h:{port}")) == f"h:{port}"
