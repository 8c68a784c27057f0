"""The commands of docs/how-to/run-an-exchange.md, as they stand there, in their order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.server.live_world import LiveServer, command, indexers

from twinlock.chain.coins import Network, coin

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-an-exchange.md"


def commands() -> list[list[str]]:
    """The words after `twinlock server` of every example."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            program, group, *words = shlex.split(line)
            assert (program, group) == ("twinlock", "server")
            found.append(words)
    return found


async def test_every_command_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = LiveServer(tmp_path / "server.toml")
    seen = []
    async with indexers(*(coin(symbol, Network.REGTEST) for symbol in ("btc", "ltc"))) as chains:
        places = dict(zip((":50001", ":51001"), (f":{indexer.port}" for indexer in chains), strict=True))
        for words in commands():
            seen.append(words[0])
            if words[0] == "run":
                await server.start()
                continue
            if words[0] == "init":
                given = " ".join(words).replace("127.0.0.1:7232", "127.0.0.1:0")
                for told, real in places.items():
                    given = given.replace(told, real)
                words = given.split()
            code, out, err = await command(*words)
            if words[0] == "init":
                server.config.write_text(
                    server.config.read_text()
                    .replace(":6542", ":0")
                    .replace("data_dir =", "max_clients = 100\ndata_dir =")
                )
            assert code == 0, (words, out, err)
        assert await server.stop() == 0
    assert (tmp_path / "saved" / "server.db").exists()
    assert {"init", "doctor", "run", "restart", "admin", "backup"} <= set(seen)
