"""A disk that is really full: wallets are served what was known, the trouble is told, and ends when there is room."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.indexer.chains import branch
from tests.indexer.fake_node import FakeNode, hash_of
from tests.indexer.test_lies import NAME, PAYEE, running, until
from tests.indexer.wire import Refused, Wallet

from twinlock.indexer.trouble import DISK

pytestmark = pytest.mark.anyio

Fill = Callable[[bool], None]
"""Makes the disk full, or gives it room again."""


def filled(folder: Path) -> Fill:
    """Of a small file system: with one large file."""
    file = folder / "filler"

    def fill(full: bool) -> None:
        if not full:
            file.unlink()
            return
        with file.open("wb", buffering=0) as data, suppress(OSError):
            while True:
                data.write(bytes(4096))

    return fill


def limited() -> Fill:
    """Where no file system can be mounted: this process may not make files larger than they are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(full: bool) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096 if full else soft, hard))

    return fill


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Path, Fill]]:
    """A folder on a small disk, and what fills that."""
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if mount and os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0:
        yield tmp_path / "index", filled(tmp_path)
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    else:
        fill = limited()
        yield tmp_path / "index", fill
        fill(False)


async def test_a_full_disk_stops_nothing_but_the_news(small: tuple[Path, Fill]) -> None:
    folder, fill = small
    node = FakeNode()
    await node.start()
    async with running(node, folder) as (controller, port):
        wallet = await Wallet.connect(port, "1.6")
        fill(True)
        node.blocks += [node.maker.close([]) for _ in range(60)]  # some may find room at the ends of files
        paid, raw = node.maker.pay(PAYEE)
        node.blocks.append(node.maker.close([(paid, raw)]))
        await until(lambda: {trouble.code for trouble in controller.troubles.now} == {DISK})
        assert controller.troubles.now[0].fix == "free some space"
        assert controller.metrics.answer("/readyz")[0] == 503
        assert controller.local_rpc.getinfo()["trouble"][0]["code"] == DISK
        reached = (await wallet.call("blockchain.headers.get_tip"))["height"]
        assert 130 <= reached < len(node.blocks) - 1
        assert await wallet.call("blockchain.scripthash.get_history", NAME) == []
        fill(False)
        await until(lambda: controller.processor.tip == hash_of(node.blocks[-1]) and not controller.troubles.now)
        assert controller.metrics.answer("/readyz") == (200, b"ready\n")
        history = await wallet.call("blockchain.scripthash.get_history", NAME)
        assert [row["height"] for row in history] == [len(node.blocks) - 1]
        assert controller.storage._manifest.runs[0].name == "run-1", "no new sync"
        wallet.close()
    node.stop()


async def test_a_disk_that_is_full_in_the_middle_of_a_reorganisation_makes_no_wrong_answer(
    small: tuple[Path, Fill],
) -> None:
    """Half of the new branch is no state of the chain: nothing is told of it; who asks is refused, not kept waiting."""
    folder, fill = small
    node = FakeNode()
    await node.start()
    async with running(node, folder) as (controller, port):
        wallet = await Wallet.connect(port, "1.6")
        before = (await wallet.call("blockchain.headers.subscribe"))["height"]
        fill(True)
        kept = len(node.blocks) - 4
        node.blocks = branch(node.blocks, 4, 400, 9)  # what the old blocks took is not enough for them
        await until(lambda: {trouble.code for trouble in controller.troubles.now} == {DISK})
        assert controller.metrics.answer("/readyz")[0] == 503
        assert controller.shared.held
        assert kept <= controller.storage.height < len(node.blocks) - 1
        with pytest.raises(Refused, match="the chain is being reorganised") as refused:
            await wallet.call("blockchain.headers.get_tip")
        assert refused.value.code == -102
        assert wallet.notes == []
        late = await Wallet.connect(port, "1.6")  # who comes now is greeted, and learns the same
        with pytest.raises(Refused, match="the chain is being reorganised"):
            await late.call("server.ping")
        fill(False)
        await until(lambda: controller.processor.tip == hash_of(node.blocks[-1]) and not controller.troubles.now)
        for each in (wallet, late):
            assert (await each.call("blockchain.headers.get_tip"))["height"] == before + 396
        assert [note[1][0]["height"] for note in wallet.notes] == [before + 396]
        assert controller.storage._manifest.runs[0].name == "run-1", "no new sync"
        wallet.close()
        late.close()
    node.stop()


async def test_a_first_sync_waits_for_room(small: tuple[Path, Fill]) -> None:
    folder, fill = small
    node = FakeNode()
    await node.start()
    asked = 0

    def full_in_the_middle(method: str, _: object, truth: object) -> object:
        nonlocal asked
        asked += method == "getblock"
        if asked == 60:
            fill(True)
            asyncio.get_running_loop().call_later(0.3, fill, False)
            asked += 1
        return truth

    node.lie = full_in_the_middle
    async with running(node, folder) as (controller, _):
        assert asked > 60
        assert controller.processor.tip == hash_of(node.blocks[-1])
        assert not controller.troubles.now
    node.stop()
