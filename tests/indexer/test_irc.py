"""Two servers meet in a channel of a real IRC server, learn of each other there, and then look at each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL

import pytest
from tests.indexer.internet import Internet, Server, cancelled, running, until

from twinlock.indexer.env import EnvError
from twinlock.indexer.irc import Irc, Meeting
from twinlock.seams import SeededEntropy, SystemClock, VirtualClock
from twinlock.simnet.ports import free_ports

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def irc_server(program: Path, folder: Path) -> AsyncIterator[int]:
    """ngircd on loopback; gives its port."""
    (port,) = free_ports(1)
    file = folder / "ngircd.conf"
    file.write_text(
        f"[Global]\nName = irc.test.example\nInfo = test\nListen = 127.0.0.1\nPorts = {port}\nMotdPhrase = hello\n"
        "[Limits]\nMaxConnectionsIP = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\nSyslogFacility = local1\n"
    )
    process = await asyncio.create_subprocess_exec(program, "-n", "-f", file, stdout=DEVNULL, stderr=DEVNULL)
    try:
        for _ in range(200):
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.02)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def test_servers_meet_and_then_know_each_other(program: Callable[[str], Path], tmp_path: Path) -> None:
    internet, clock = Internet(), VirtualClock()
    servers = [Server(internet, number, clock) for number in (1, 2)]
    async with irc_server(program("ngircd"), tmp_path) as port:
        meeting = Meeting.parse(f"irc://127.0.0.1:{port}/electrum-test")
        visitors = [Irc(meeting, s.peers, SystemClock(), SeededEntropy(n)) for n, s in enumerate(servers)]
        tasks = []
        for visitor in visitors:  # the first is asked about when the second comes in, and the other way round
            tasks.append(asyncio.create_task(visitor.run()))
            await asyncio.wait_for(visitor.present.wait(), 20)
        async with running(*servers):
            await until(clock, lambda: servers[0].knows_well() == {"server2.example"}, 100_000)
            await until(clock, lambda: servers[1].knows_well() == {"server1.example"}, 100_000)
        # Whoever heard of the other first asked it, which may have told the other before the channel did.
        sources = {servers[0].peers.peers["server2.example"].source, servers[1].peers.peers["server1.example"].source}
        assert "irc" in sources
        for task in tasks:
            await cancelled(task)


async def test_a_lost_connection_is_made_again_and_nonsense_is_not_heard(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    internet, clock = Internet(), VirtualClock()
    server = Server(internet, 1, clock, peer_announce=False)
    async with irc_server(program("ngircd"), tmp_path) as port:
        visitor = Irc(Meeting.parse(f"irc://127.0.0.1:{port}/x"), server.peers, clock, SeededEntropy(1))
        task = asyncio.create_task(visitor.run())
        await asyncio.wait_for(visitor.present.wait(), 20)
        _, stranger = await asyncio.open_connection("127.0.0.1", port)
        stranger.write(b"NICK someone\r\nUSER a 0 * :not a server\xff\xfe\r\nJOIN #x\r\n")
        _, teller = await asyncio.open_connection("127.0.0.1", port)
        teller.write(b"NICK teller\r\nUSER b 0 * :real.example v1.4 s50002 t50001\r\nJOIN #x\r\n")
        for _ in range(500):
            if server.peers.peers:
                break
            await asyncio.sleep(0.01)
        assert set(server.peers.peers) == {"real.example"}
        stranger.close()
        teller.close()
    for _ in range(500):
        if not visitor.present.is_set():
            break
        await asyncio.sleep(0.01)
    assert not visitor.present.is_set()
    await clock.advance(25)
    assert not task.done(), "it keeps trying"
    await cancelled(task)


@pytest.mark.parametrize("text", ["", "http://x/y", "irc://host", "irc:///c", "irc://h:99999/c", "irc://h/a b"])
async def test_what_is_no_channel(text: str) -> None:
    with pytest.raises(EnvError):
        Meeting.parse(text)
