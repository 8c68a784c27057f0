"""Controller: builds the components from the Env, brings the index to the tip, then keeps following the node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from twinlock.chain.coins import Network, coin
from twinlock.errors import TwinlockError
from twinlock.indexer.bans import Bans
from twinlock.indexer.block_files import BlockFiles
from twinlock.indexer.block_processor import BlockProcessor, Step
from twinlock.indexer.certificate import Certificate, CertificateError, certificate_of
from twinlock.indexer.daemon import RETRY_SECONDS, Daemon, DaemonError, DaemonGoneError, Guests
from twinlock.indexer.doors import try_doors
from twinlock.indexer.env import Env, reorg_limit_of
from twinlock.indexer.irc import Irc, Meeting
from twinlock.indexer.local_rpc import LocalRPC
from twinlock.indexer.lock import DirectoryLock
from twinlock.indexer.memory import Ceiling, shares, trim
from twinlock.indexer.mempool import Mempool
from twinlock.indexer.metrics import MetricsServer
from twinlock.indexer.news import News
from twinlock.indexer.node_home import NodeAddress, addresses
from twinlock.indexer.peer_network import PeerNetwork, RealNetwork
from twinlock.indexer.peer_store import PeerStore
from twinlock.indexer.peers import PeerManager
from twinlock.indexer.prefetcher import Prefetcher
from twinlock.indexer.progress import LogLines, Show
from twinlock.indexer.sessions import SessionManager
from twinlock.indexer.shared import Shared
from twinlock.indexer.storage.disk import Disk, RealDisk
from twinlock.indexer.storage.manifest import DamagedError, TooDeepError
from twinlock.indexer.storage.segments import open_storage
from twinlock.indexer.syncing import Syncing
from twinlock.indexer.trouble import Troubles
from twinlock.indexer.upkeep import Upkeep
from twinlock.indexer.view import View
from twinlock.kernels.index import compiled
from twinlock.seams import Clock, Entropy

log = structlog.get_logger("indexer")

_LOOK_AFTER_SECONDS = 5.0
_ROOM_SECONDS = 0.05
_DISK_SECONDS = 1.0
"""How long to wait before a disk that refused is tried again."""
_FOLLOWING, _CERTIFICATE = "following", "certificate"


class WrongChainError(TwinlockError):
    """The node is on another chain than the index."""

    code = "indexer.wrong_chain"
    fault = "user"


class Controller:
    """One indexer of one chain. `stop` ends it; `ready` says whether wallets are served."""

    def __init__(
        self,
        env: Env,
        clock: Clock,
        entropy: Entropy,
        network: PeerNetwork | None = None,
        show: Show | None = None,
        disk: Disk | None = None,
    ) -> None:
        """network: the world of other servers, the real one by default. show: shows a first sync's progress.

        disk: where the index lives, the data directory by default.
        """
        self.env = env
        self._lock = DirectoryLock(env.data_dir)
        self.clock = clock
        self.entropy = entropy
        self.started = clock.monotonic()
        self.stop = asyncio.Event()
        self.ready = False
        self.coin = coin(env.coin, Network(env.network))
        self.reorg_limit = reorg_limit_of(env, self.coin)
        self.daemon = Daemon(*self.nodes(env.daemon_urls))
        self.room = shares(env.memory)
        disk = disk or RealDisk(env.data_dir)
        self.storage, damage = open_storage(disk, self.coin.genesis_hash, self.reorg_limit, self.room.chores)
        if damage:
            log.error("the index was damaged", reason=damage)
        self.mempool = Mempool(self.storage)
        self.files = BlockFiles(self.coin.p2p_magic)
        self.view = View(self.storage, self.mempool, self.files, self.room)
        self.processor = BlockProcessor(
            self.daemon, self.storage, Prefetcher(self.daemon, self.files), self.files, self.coin, self.reorg_limit
        )
        self.bans = Bans(env.data_dir / "bans.json")
        outside = network or RealNetwork()
        store = PeerStore(env.data_dir / "peers.json")
        self.peers = PeerManager(env, self.coin, self.storage, clock, entropy, outside, self.bans, store)
        self.irc = Irc(Meeting.parse(env.irc), self.peers, clock, entropy) if env.irc else None
        self.shared = Shared(env, self.view, Guests(self.daemon), self, clock, self.bans, self.peers)
        self.sessions = SessionManager(self.shared)
        self.news = News(self.daemon, env.zmq)
        self.local_rpc = LocalRPC(self)
        self.metrics = MetricsServer(self)
        self._turn = asyncio.Lock()
        self.troubles = Troubles(clock)
        self.upkeep = Upkeep(self.storage, clock, self.troubles, self._turn, self._mend)
        self._syncing = Syncing(
            self.daemon,
            self.storage,
            self.files,
            self.coin,
            self.reorg_limit,
            clock,
            entropy,
            memory=env.memory,
            rows=self.room.rows,
            show=show or LogLines(clock, lambda line: log.info("first sync", progress=line)),
            trouble=self._trouble,
        )

    def nodes(self, urls: tuple[str, ...]) -> list[NodeAddress]:
        """How to call the nodes at these addresses; without any, the one that lives on this machine."""
        return addresses(self.coin, urls, self.env.node_dir, Path.home())

    async def run(self, ready: Callable[[int], None]) -> None:
        """Serve until cancelled; `ready` is called with the tip's height once wallets may connect."""
        if not compiled():
            log.warning("the kernels were not compiled: everything works, but slowly", fix="install a C compiler")
        try:
            certificate = certificate_of(self.env, self.clock)
            try_doors(self.env.wallet_services)
            await self._open_local_doors()
            await self._meet_node()
            await self._first_sync()
            while await self._step():
                pass
            await self.sessions.listen(self.env.wallet_services, certificate)
            self.ready = True
            ready(self.storage.height)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._look_after(certificate))
                group.create_task(self._keep_room())
                group.create_task(self.upkeep.chores())
                group.create_task(self.upkeep.verify())
                group.create_task(self.peers.run())
                if self.irc:
                    group.create_task(self.irc.run())
        finally:
            self.local_rpc.close()
            self.metrics.close()
            await self.sessions.close()
            self.news.close()
            self.daemon.close()
            self.files.close()
            self.storage.close()
            self._lock.release()

    async def _open_local_doors(self) -> None:
        if service := self.env.local_service("rpc"):
            await self.local_rpc.start(service)
        if service := self.env.local_service("http"):
            await self.metrics.start(service)

    async def _look_after(self, certificate: Certificate | None) -> None:
        told = self.clock.monotonic()
        while True:
            await self.clock.sleep(_LOOK_AFTER_SECONDS)
            self.sessions.look_after()
            if 0 < self.env.log_sessions <= self.clock.monotonic() - told:
                told = self.clock.monotonic()
                log.info("state", **self.local_rpc.getinfo())
            if certificate:
                self._follow_certificate(certificate)

    def _follow_certificate(self, certificate: Certificate) -> None:
        try:
            if certificate.reload():
                log.info("the certificate was loaded again")
                self.troubles.over(_CERTIFICATE)
        except CertificateError as error:
            self.troubles.tell(_CERTIFICATE, error, grave=False)

    async def _keep_room(self) -> None:
        steps = ((0.7, self.storage.let_go), (0.8, trim), (0.9, self.view.forget))
        ceiling = Ceiling(self.env.memory, steps)
        while True:
            await self.clock.sleep(_ROOM_SECONDS)
            self.sessions.make_room()
            ceiling.look()

    async def undo(self, count: int) -> int:
        """Drop blocks, as many as can be undone, and take them in again as the node has them now; how many."""
        async with self._turn:
            self.sessions.hold()
            step = self.processor.drop(min(count, self.storage.height))
            self.sessions.notify(self._absorb(step), tip=True)
            await self._advance()
            return step.undone

    async def refresh(self) -> None:
        """Look at the node now; on return its present tip and mempool are ours."""
        async with self._turn:
            await self._advance()

    async def take_in(self, txid: str) -> None:
        """A transaction was given to the node: on return it is in our mempool, unless something is wrong just now."""
        try:
            async with self._turn:
                await self._mempool_news({txid: True})
                if bytes.fromhex(txid)[::-1] not in self.mempool.txs:
                    await self._advance()  # its parents are unknown yet, or it is confirmed already
        except (TwinlockError, OSError, ValueError) as error:  # the node has it all the same; `_follow` will hear of it
            log.warning("a transaction that was sent is not seen yet", txid=txid, reason=str(error))

    async def _meet_node(self) -> None:
        while True:
            try:
                genesis = await self.daemon.call("getblockhash", 0)
                break
            except (DaemonGoneError, DaemonError) as error:
                await self._trouble(error)
        self.troubles.over(_FOLLOWING)
        if genesis != self.coin.genesis_hash:
            raise WrongChainError(
                f"the node's chain begins with {genesis}, that of {self.coin.name} {self.coin.network} does not",
                fix="check the daemon URL, the coin and the network",
            )
        await self.news.start()
        await self._find_block_files()

    async def _find_block_files(self) -> None:
        """A node on this machine says where it logs, and its blocks are beside that."""
        folder = self.env.blocks_dir
        if folder is None and self.daemon.local and self.env.use_block_files:
            with suppress(DaemonError, KeyError):
                folder = Path((await self.daemon.call("getrpcinfo"))["logpath"]).parent / "blocks"
        if folder is not None and self.files.use(folder):
            log.info("reading the node's block files", folder=str(folder))
            if self.storage.height >= 0 and (spot := self.storage.spot(self.storage.height)):
                self.files.start_after(spot)

    async def _first_sync(self) -> None:
        await self._syncing.run()
        self.troubles.over(_FOLLOWING)

    async def _follow(self) -> None:
        while True:
            heard = await self.news.wait(self.env.poll_seconds, self.clock)
            await self._step(None if heard.whole else heard.mempool)

    async def _step(self, mempool: Mapping[str, bool] | None = None) -> bool:
        """Look once, or only at what is said of the mempool; whether the chain moved.

        A node that is away or moves under our feet is asked again later.
        """
        try:
            async with self._turn:
                if mempool is not None:
                    return await self._mempool_news(mempool)
                moved = await self._advance()
            self.troubles.over(_FOLLOWING)
            return moved
        except DamagedError as error:
            await self._mend(error)
        except Exception as error:  # nothing that a node says or a disk does ends the program
            try:
                if isinstance(error, TooDeepError):
                    await self._forget_all(error)
                else:
                    await self._trouble(error)
            except OSError as refused:
                await self._trouble(refused)
        return True

    async def _trouble(self, error: Exception) -> None:
        """Tell of it, and wait before the work is tried again."""
        self.troubles.tell(_FOLLOWING, error)
        if isinstance(error, OSError | DaemonGoneError):  # such things last
            self.sessions.refuse()
        await self.clock.sleep(_DISK_SECONDS if isinstance(error, OSError) else RETRY_SECONDS)

    async def _forget_all(self, error: TooDeepError) -> None:
        """The index cannot follow: it is built anew. Raises OSError; nothing has changed then."""
        log.error("the index is built anew", reason=str(error))
        async with self._turn:
            await self._start_anew(self.storage.reset)

    async def _mend(self, error: DamagedError) -> None:
        """Files are not what they were: keep what is sound, and let the node give the rest again."""
        log.error("the index is damaged", reason=str(error))
        async with self._turn:
            self.sessions.hold()
            while True:
                try:
                    sound = await asyncio.to_thread(self.storage.reopened)  # everything is read
                    break
                except OSError as refused:
                    await self._trouble(refused)
            await self._start_anew(lambda: self.storage.become(sound))

    async def _start_anew(self, change: Callable[[], None]) -> None:
        """Go on from another index than before, maybe from none. Nobody is answered until it has the node's tip."""
        self.sessions.hold()
        change()
        self.files.start_over()
        self.view.started_anew()
        scripts = self.mempool.clear() | self.shared.watchers.keys()
        self.view.touch(scripts)
        self.sessions.notify(scripts, tip=True)
        await self._first_sync()

    async def _advance(self) -> bool:
        moved = False
        while True:
            listed, best = await self.daemon.batch([("getrawmempool", ()), ("getbestblockhash", ())])
            for answer in (listed, best):
                if isinstance(answer, DaemonError):
                    raise answer
            if not isinstance(listed, list):
                raise DaemonGoneError("the node's mempool is not a list")
            if best == self.processor.tip:
                break
            await self._blocks(best)
            moved = True
        scripts = await self.mempool.refresh(self.daemon, listed)
        self.view.touch(scripts)
        self.sessions.release()
        self.sessions.notify(scripts)
        return moved

    async def _mempool_news(self, news: Mapping[str, bool]) -> bool:
        scripts = await self.mempool.change(self.daemon, news)
        self.view.touch(scripts)
        self.sessions.notify(scripts)
        return False

    async def _blocks(self, best: str) -> None:
        """Move towards the node's tip. While blocks are replaced, wallets wait until the mempool is whole again."""
        plan = await self.processor.plan(best)
        async for step in self.processor.advance(plan):
            if step.undone:
                self.sessions.hold()
            if self.ready or self.mempool.txs or step.undone:
                self.sessions.notify(self._absorb(step), tip=True)
            else:  # nobody is told anything yet, and nothing is cached
                self.storage.tidy()

    def _absorb(self, step: Step) -> set[bytes]:
        """Let mempool and view follow the index, before anybody can ask them."""
        scripts = step.scripts
        if step.undone:
            self.view.chain_undone(self.storage.height - (step.block is not None), step.lost)
            scripts |= self.mempool.clear()
        if step.block:
            scripts |= self.mempool.confirm(step.block)
        self.view.touch(scripts)
        return scripts


async def serve(
    env: Env,
    clock: Clock,
    entropy: Entropy,
    ready: Callable[[int], None],
    stop: asyncio.Event,
    show: Show | None = None,
) -> None:
    """Run one indexer until `stop` is set, or the operator says so. show: shows the progress of a first sync."""
    controller = Controller(env, clock, entropy, show=show)
    controller.stop = stop
    work = asyncio.create_task(controller.run(ready))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
