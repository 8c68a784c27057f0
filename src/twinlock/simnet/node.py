"""Real coin nodes on private chains (regtest), with a wallet that mines and pays.

A fresh node first mines its history with a clock set far back, because blocks made in one go would otherwise carry
the chain's median time far ahead of the real one; eleven blocks at the real time then bring the median to now. After
it every rule that contracts need is in force (Litecoin's regtest has CHECKLOCKTIMEVERIFY from height 1351 on). All but
those eleven blocks is kept for the next fresh node (`histories`).
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from twinlock.errors import TwinlockError
from twinlock.simnet import histories, programs
from twinlock.simnet.ports import free_ports
from twinlock.simnet.processes import Process, Processes

COIN_ATOMS = 100_000_000
"""Atoms in one bitcoin or litecoin."""

MEDIAN_BLOCKS = 11
"""Blocks whose median is the chain's time (BIP113)."""

_LONG_AGO = 1_700_000_000
"""When histories were mined, by their blocks."""

_NOBODY = "raw(51)"
_PAID_BLOCKS = 80  # 4,000 coins for the miner; a wallet that earned every block would slow each new one down
_USER, _PASSWORD = "twinlock", "simnet"
_HEAD = b"Host: 127.0.0.1\r\nConnection: close\r\nAuthorization: Basic %b\r\n" % b64encode(
    f"{_USER}:{_PASSWORD}".encode()
)
_PATIENCE_S = 300
_WARMING_UP = -28


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the nodes. `history`: blocks after which all rules hold and mined money can be spent.

    `arguments` may name ``{publisher}``, a free port.
    """

    program: str
    history: int
    arguments: tuple[str, ...]


KINDS = {
    "btc": Kind("bitcoind", 200, ("-zmqpubsequence=tcp://127.0.0.1:{publisher}",)),
    # Without a pegged-in coin no block is valid once MWEB activates, so its activation is put out of reach.
    "ltc": Kind("litecoind", 1400, ("-vbparams=mweb:0:0:1000000:2000000",)),
}
"""The nodes that can be run, by coin symbol."""

_COMMON = (
    "-regtest",
    "-server",
    "-rest",
    "-listen=0",
    "-rpcworkqueue=256",  # everybody asks at once: an indexer, wallets, and whoever tells a story
    "-dnsseed=0",
    "-keypool=5",
    "-dbcache=32",
    "-fallbackfee=0.0001",
    "-checkblockindex=0",
    "-checkmempool=0",
    "-maxtipage=9999999999",  # else a chain whose tip is old calls itself unsynchronised
    f"-rpcuser={_USER}",
    f"-rpcpassword={_PASSWORD}",
)


class NodeError(TwinlockError):
    """The node refused a request; `numbers["rpc"]` is its error code."""

    code = "simnet.node"
    fault = "node"


class Node:
    """One node. `folder` holds its chain and outlives it, so that a stopped or killed node starts again."""

    def __init__(
        self,
        symbol: str,
        folder: Path,
        processes: Processes,
        kind: Kind | None = None,
        shelf: Path | None = None,
    ) -> None:
        """kind: how it is run, where it is to differ from `KINDS`. shelf: where histories are kept, if not as usual."""
        self.symbol = symbol
        self.folder = folder
        self.port, self._publisher = free_ports(2)
        self.process: Process | None = None
        self.extra: tuple[str, ...] = ()
        """Further arguments, from the next start on."""
        self._kind = kind or KINDS[symbol]
        self._shelf = shelf or histories.shelf()
        self._processes = processes

    @property
    def url(self) -> str:
        """Where it answers RPC, user and password included."""
        return f"http://{_USER}:{_PASSWORD}@127.0.0.1:{self.port}"

    async def start(self, say: programs.Say = lambda _line: None) -> None:
        """Start the program, fetching it when it is missing; a new chain gets its history. Raises ProgramError."""
        program = await asyncio.to_thread(programs.need, self._kind.program, say)
        fresh = not self.folder.exists()
        mined = map(str, (self._kind.history, _PAID_BLOCKS, _LONG_AGO))
        made_by = (*_COMMON, *self._kind.arguments, *self.extra, *mined)
        kept = self._shelf / histories.name_of(program, made_by)
        if fresh:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(histories.take, kept, self.folder)
        await self._run(program)
        if await self.height() == 0:
            fresh = True
            await self._make_history()
            await self.stop()
            await asyncio.to_thread(histories.keep, self.folder, kept)
            await self._run(program)
        await self._load_miner()
        if fresh:
            await self.mine(MEDIAN_BLOCKS)

    async def _run(self, program: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        special = (argument.format(publisher=self._publisher) for argument in self._kind.arguments)
        settings = (*_COMMON, *special, *self.extra, f"-datadir={self.folder}", f"-rpcport={self.port}")
        self.process = await self._processes.start(f"node-{self.symbol}", [program, *settings])
        await self.process.until(self._answers, 60, "answer to RPC")

    async def stop(self) -> None:
        """Stop the program in good order."""
        if self.process is not None:
            await self.process.stop()

    async def kill(self) -> None:
        """kill -9. The blocks stay, as if the network gave them back; what waited for a block is forgotten."""
        if self.process is not None:
            await self.rpc("gettxoutsetinfo")  # writes everything to disk first, which it does rarely by itself
            await self.process.kill()

    async def rpc(self, method: str, *params: object, wallet: str = "") -> Any:
        """One call, of the node or of that wallet in it. Amounts in answers are Decimal; send amounts as text.

        Raises NodeError, OSError.
        """
        question = json.dumps({"jsonrpc": "1.0", "id": 0, "method": method, "params": params})
        answer = await self._post(f"/wallet/{wallet}" if wallet else "/", question.encode())
        reply = json.loads(answer, parse_float=Decimal)
        if (error := reply["error"]) is not None:
            raise NodeError(f"{self.symbol} {method}: {error['message']}", numbers={"rpc": error["code"]})
        return reply["result"]

    async def mine(self, blocks: int = 1) -> list[str]:
        """Add blocks to the chain; their hashes. Their rewards go to nobody."""
        hashes: list[str] = await self.rpc("generatetodescriptor", blocks, _NOBODY)
        return hashes

    async def fund(self, address: str, atoms: int) -> str:
        """Pay from the miner's wallet, without mining; the transaction ID."""
        txid: str = await self.rpc("sendtoaddress", address, f"{Decimal(atoms) / COIN_ATOMS:.8f}", wallet="miner")
        return txid

    async def height(self) -> int:
        return int(await self.rpc("getblockcount"))

    async def median_time(self) -> int:
        """The chain's time in seconds, by which lock times are judged (BIP113)."""
        return int((await self.rpc("getblockchaininfo"))["mediantime"])

    async def mempool(self) -> list[str]:
        """IDs of the transactions that wait for a block."""
        txids: list[str] = await self.rpc("getrawmempool")
        return txids

    async def set_time(self, seconds: int | None) -> None:
        """Stop the node's clock at this Unix time; None lets it run with the machine's again."""
        await self.rpc("setmocktime", seconds or 0)

    async def pass_time(self, until: int) -> None:
        """Mine until the chain's median time is later than `until` (seconds), as waiting would have done."""
        await self.set_time(until + 1)
        while await self.median_time() <= until:
            await self.mine()

    async def invalidate(self, block_hash: str) -> None:
        """Reject a block and all after it: the start of a reorganisation."""
        await self.rpc("invalidateblock", block_hash)

    async def fee(self, txid: str) -> int:
        """Atoms that a transaction paid to the miners. Raises NodeError when it is in no block of this story."""
        known = {tx["txid"]: tx async for tx in self._transactions()}
        if txid not in known:
            raise NodeError(f"{self.symbol}: {txid} is in no block of this story")
        spent = sum(_value(known[each["txid"]], each["vout"]) for each in known[txid]["vin"])
        return spent - sum(_value(known[txid], index) for index in range(len(known[txid]["vout"])))

    async def spender(self, txid: str, index: int) -> str | None:
        """The ID of the transaction in a block that spends an output, if one does."""
        async for tx in self._transactions():
            if any((each.get("txid"), each.get("vout")) == (txid, index) for each in tx["vin"]):
                return str(tx["txid"])
        return None

    async def unspent(self, descriptor: str) -> int:
        """Atoms that the chain itself, asked without any index of ours, holds for an output descriptor."""
        found = await self.rpc("scantxoutset", "start", [descriptor])
        return int(found["total_amount"] * COIN_ATOMS)

    async def _answers(self) -> bool:
        try:
            await self.rpc("getblockcount")
        except OSError:
            return False
        except NodeError as error:
            if error.numbers["rpc"] == _WARMING_UP:
                return False
            raise
        return True

    async def _post(self, path: str, body: bytes) -> bytes:
        """The body of the answer. Stories ask thousands of times: a whole HTTP client would cost more than the node.

        Litecoin's node does not stop while somebody keeps an idle connection to it, so each question has its own.
        """
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (path.encode(), _HEAD, len(body)))
                writer.write(body)
                head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
        size = re.search(rb"content-length: (\d+)", head.lower())
        if size is None or len(answer) < int(size[1]):
            raise ConnectionResetError(f"the {self.symbol} node hung up")
        return answer

    async def _transactions(self) -> AsyncIterator[Any]:
        """Every transaction in a block since the chain's history, read without any index."""
        for height in range(self._kind.history, await self.height() + 1):
            block = await self.rpc("getblock", await self.rpc("getblockhash", height), 2)
            for tx in block["tx"]:
                yield tx

    async def _make_history(self) -> None:
        # The wallet is born with the old clock too, because it overlooks blocks older than itself.
        await self.set_time(_LONG_AGO)
        await self.rpc("createwallet", "miner")
        await self._load_miner()
        await self.rpc("generatetoaddress", _PAID_BLOCKS, await self.rpc("getnewaddress"))
        await self.mine(self._kind.history - _PAID_BLOCKS)

    async def _load_miner(self) -> None:
        if "miner" not in await self.rpc("listwallets"):
            await self.rpc("loadwallet", "miner")


def _value(tx: Any, index: int) -> int:
    return int(tx["vout"][index]["value"] * COIN_ATOMS)
