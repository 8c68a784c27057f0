"""The node wallet: coins and their keys live in the wallet of a coin node, swap keys come from our own seed.

The node tells what belongs to it and signs for it; contracts, bonds and all that others pay are seen through Electrum
servers as ever. Coins that we set aside are locked in the node too, so that its other users leave them alone, and those
that they have locked are locked here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog

from twinlock.chain import bip32, descriptor, script, spend
from twinlock.chain.address import address_to_script, script_to_address
from twinlock.chain.coins import Coin
from twinlock.chain.errors import ChainError
from twinlock.chain.keys import PrivateKey, from_wif
from twinlock.chain.psbt import Psbt
from twinlock.chain.script import Kind
from twinlock.chain.spend import Draft, Input
from twinlock.chain.terms import CoinPoint
from twinlock.chain.tx import Tx, TxIn, TxOut
from twinlock.client.store.base import Store
from twinlock.client.wallet.errors import NodeWalletError
from twinlock.client.wallet.keys import KeyPath, Use, WalletKeys
from twinlock.client.wallet.light import GAP_LIMIT, LightWallet
from twinlock.client.wallet.node_rpc import UNKNOWN_METHOD, WALLET_ERROR, WalletRpc, coins
from twinlock.client.wallet.purse import Place, Purse
from twinlock.client.wallet.scanner import WalletView
from twinlock.electrum.states import HistoryEntry
from twinlock.errors import TwinlockError
from twinlock.seams import Clock

NODE: KeyPath = (-1, 0)
"""Stands for the path of every key that the node has."""

POLL_S = 2.0
"""Seconds between two looks at the node's wallet; a new tip makes it look at once."""

DEPTH = 100
"""Blocks from the tip that are asked for again each time: no reorg reaches deeper."""

OTHERS = "node"
"""The reference of coins that another user of the node's wallet has locked."""

_SIGNABLE = (Kind.P2WPKH, Kind.P2TR, Kind.P2PKH)
_ALL = b"node"
"""The name under which the ledger hears of the node's whole history."""

log = structlog.get_logger(__name__)


class NodeWallet(LightWallet):
    """A wallet whose coins are a node's.

    birthday: height from which `rescan` lets the node look. poll: seconds between two looks at the node's wallet.
    """

    def __init__(
        self,
        coin: Coin,
        view: WalletView,
        keys: WalletKeys,
        store: Store,
        clock: Clock,
        rpc: WalletRpc,
        *,
        birthday: int = 0,
        poll: float = POLL_S,
    ) -> None:
        super().__init__(coin, view, keys, store, clock, purse=NodePurse(coin, view, keys, store, clock, rpc, poll))
        self._rpc = rpc
        self._birthday = birthday

    async def rescan(self, gap_limit: int, since: int | None = None) -> None:  # noqa: ARG002 - the node knows its gap
        await self._rpc.call("rescanblockchain", self._birthday if since is None else since)


class NodePurse(Purse):
    """See `Purse`."""

    def __init__(
        self,
        coin: Coin,
        view: WalletView,
        keys: WalletKeys,
        store: Store,
        clock: Clock,
        rpc: WalletRpc,
        poll: float = POLL_S,
    ) -> None:
        super().__init__(coin, view, keys, store, clock, GAP_LIMIT)
        self._rpc = rpc
        self._clock = clock
        self._poll = poll
        self._task: asyncio.Task[None] | None = None
        self._spare: dict[Use, Place] = {}
        self._heights: dict[str, int | None] = {}
        self._settled = ""
        """The block up to which nothing is asked for again."""
        self._looked: set[bytes] = set()
        self._locked: set[CoinPoint] = set()
        self._others: set[CoinPoint] = set()

    def start(self) -> None:
        self.scanner.expect(_ALL)
        super().start()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await super().stop()
        await self._rpc.close()

    # Addresses -----------------------------------------------------------------------------------------

    async def fresh(self, use: Use) -> Place:
        self.require_scanned()
        if use not in self._spare:
            # Never a change address: a transaction that pays nothing else is not in the node's history.
            kind = "bech32m" if use is Use.TAPROOT else "bech32"
            address = await self._rpc.call("getnewaddress", "", kind)
            self._spare[use] = Place(NODE, address_to_script(self.coin, address), address)
        return self._spare[use]

    def take(self, place: Place) -> None:
        self._own(place.script, place.address)
        self._spare = {use: spare for use, spare in self._spare.items() if spare != place}

    # Keys ----------------------------------------------------------------------------------------------

    async def sign(self, draft: Draft) -> spend.Payment:
        if all(source.key is not None for source in draft.inputs):
            return spend.sign(draft)
        told = [
            {
                "txid": source.point.txid,
                "vout": source.point.index,
                "scriptPubKey": source.script.hex(),
                "amount": coins(source.value),
            }
            for source in draft.inputs
        ]
        answer = await self._rpc.call("signrawtransactionwithwallet", draft.tx.serialize().hex(), told)
        if not answer["complete"]:
            raise NodeWalletError(
                "the node does not sign every input", numbers={"inputs": len(told)}, fix="unlock the node's wallet"
            )
        tx = Tx.parse(bytes.fromhex(answer["hex"]))
        if _bare(tx) != draft.tx:
            raise NodeWalletError("the node signed something else than it was asked to", code="wallet.node.lied")
        return spend.Payment(tx, draft.fee, draft.change)

    async def proof(self, coin_id: bytes) -> tuple[list[bytes], list[bytes]]:
        _, out, _ = self.find(coin_id)
        return self._family.coin_proof(coin_id, [await self._private_key(out)])

    async def describe(self, psbt: Psbt) -> Psbt:
        return Psbt.parse((await self._rpc.call("walletprocesspsbt", psbt.text, False))["psbt"])

    async def sign_psbt(self, psbt: Psbt) -> Psbt:
        signed = Psbt.parse((await self._rpc.call("walletprocesspsbt", psbt.text))["psbt"])
        if signed.tx != psbt.tx:
            raise NodeWalletError("the node signed something else than it was asked to", code="wallet.node.lied")
        return signed

    async def _private_key(self, out: TxOut) -> PrivateKey:
        """For a moment only: servers want a signature over a coin's ID, which nodes make of messages alone.

        Raises NodeWalletError where the node gives no key away.
        """
        address = script_to_address(self.coin, out.script)
        try:
            key = from_wif(self.coin, await self._rpc.call("dumpprivkey", address))
        except NodeWalletError as error:
            # Wallets of descriptors know no keys of single addresses, and newer nodes know no others.
            if error.numbers.get("rpc") not in (WALLET_ERROR, UNKNOWN_METHOD):
                raise
            key = await self._derived_key(str(address))
        spend.key_input(CoinPoint(bytes(32), 0), out.value, out.script, key)  # or it is not the key
        return key

    async def _derived_key(self, address: str) -> PrivateKey:
        known = await self._rpc.call("getaddressinfo", address)
        index = bip32.parse_path(known["hdkeypath"])[-1]
        wanted = address_to_script(self.coin, address)
        for entry in (await self._rpc.call("listdescriptors", True))["descriptors"]:
            key = descriptor.private_child(self.coin, entry["desc"], index)
            if key is not None and script.p2wpkh(self._family.pubkey_hash(key.public)) == wanted:
                return key
        raise NodeWalletError("the node does not give the key of this coin away", fix="use a wallet with its own keys")

    def _input(self, point: CoinPoint, out: TxOut, path: KeyPath) -> Input:  # noqa: ARG002 - always the node's
        return spend.foreign_input(point, out.value, out.script)

    # What the node shows -------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            try:
                await self._look()
                await self._agree_on_locks()
            except (TwinlockError, ChainError) as error:
                log.warning("the node's wallet cannot be read", coin=self.coin.symbol, error=str(error))
            await self._pause()

    async def _pause(self) -> None:
        ways = [asyncio.ensure_future(self._clock.sleep(self._poll)), asyncio.ensure_future(self._next_tip())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    async def _next_tip(self) -> None:
        height = self.ledger.tip_height
        while self.ledger.tip_height == height:
            await self.scanner.news()

    async def _look(self) -> None:
        """Read the node's history, all of it the first time, and tell the ledger."""
        base = await self._height(self._settled)
        if base < 0:
            self._settled = ""
        answer = await self._rpc.call("listsinceblock", self._settled, DEPTH, False, True)
        entries = _by_txid(answer["transactions"])
        waiting = [txid for txid, entry in entries.items() if entry["confirmations"] == 0]
        in_mempool = await self._rpc.call_many("getmempoolentry", [[txid] for txid in waiting])
        gone = {txid for txid, found in zip(waiting, in_mempool, strict=True) if found is None}
        recent = {txid: entry.get("blockheight") for txid, entry in entries.items() if txid not in gone}
        # What is asked for again and is not told again was reorganised or replaced away.
        kept = {txid: height for txid, height in self._heights.items() if height is not None and height <= base}
        heights = {**kept, **recent}
        self.scanner.times |= {e["blockheight"]: e["blocktime"] for e in entries.values() if "blockheight" in e}
        await self._tell(heights)
        self._settled = answer["lastblock"]

    async def _tell(self, heights: dict[str, int | None]) -> None:
        if heights == self._heights and self.scanner.complete:
            return
        history = [HistoryEntry(txid, height) for txid, height in heights.items()]
        missing = self.ledger.missing(history)
        answers = await self._rpc.call_many("gettransaction", [[txid] for txid in missing])
        txs = {txid: Tx.parse(bytes.fromhex(a["hex"])) for txid, a in zip(missing, answers, strict=True) if a}
        known = [self.ledger.tx(entry.txid) for entry in history]
        await self._recognise(out.script for tx in (*txs.values(), *known) if tx for out in tx.outputs)
        self.ledger.update(_ALL, [entry for entry in history if entry.txid in txs or entry.txid not in missing], txs)
        self._heights = heights
        self.scanner.heard(_ALL)

    async def _recognise(self, scripts: Iterable[bytes]) -> None:
        """Ask of every new output whether it is the wallet's."""
        fresh = [each for each in dict.fromkeys(scripts) if each not in self._looked]
        pairs = [(each, address) for each in fresh if (address := script_to_address(self.coin, each)) is not None]
        infos = await self._rpc.call_many("getaddressinfo", [[address] for _, address in pairs])
        for (output, address), info in zip(pairs, infos, strict=True):
            if info and info["ismine"]:
                self._own(output, address)
        self._looked.update(fresh)

    def _own(self, output: bytes, address: str) -> None:
        self.ledger.own(output, NODE, address, outside=script.kind(output) not in _SIGNABLE)

    async def _height(self, block_hash: str) -> int:
        """Of the block up to which nothing is asked again; -1 at first, and when that block was reorganised away."""
        if not block_hash:
            return -1
        header = await self._rpc.call("getblockheader", block_hash)
        return int(header["height"]) if header["confirmations"] >= 0 else -1

    async def _agree_on_locks(self) -> None:
        told = await self._rpc.call("listlockunspent")
        in_node = {CoinPoint(bytes.fromhex(each["txid"])[::-1], each["vout"]) for each in told}
        coins_here = {coin.point: coin.locked_for for coin in self.ledger.coins() if coin.path == NODE}
        wanted = {point for point, reference in coins_here.items() if reference and reference != OTHERS}
        others = in_node - wanted - self._locked
        for point in others & coins_here.keys():
            self.ledger.lock(point, OTHERS)
        for point in self._others - others:
            if self.ledger.lock_of(point) == OTHERS:
                self.ledger.lock(point, "")
        if others != self._others:
            self.scanner.publish()
        self._others = others
        await self._lock_in_node(wanted - in_node, unlock=False)
        await self._lock_in_node((self._locked - wanted) & in_node, unlock=True)
        self._locked = wanted

    async def _lock_in_node(self, points: set[CoinPoint], *, unlock: bool) -> None:
        for point in sorted(points):
            # One by one: the node refuses all of a list in which one output was spent meanwhile.
            await self._rpc.call_many("lockunspent", [[unlock, [{"txid": point.txid, "vout": point.index}]]])


def _by_txid(listed: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One entry for each transaction that stands, whichever of its outputs it is listed for."""
    return {
        entry["txid"]: entry
        for entry in listed
        if entry["confirmations"] >= 0 and not entry.get("abandoned") and entry["category"] != "orphan"
    }


def _bare(tx: Tx) -> Tx:
    inputs = tuple(TxIn(txin.prev_hash, txin.prev_index, b"", txin.sequence) for txin in tx.inputs)
    return Tx(tx.version, inputs, tx.outputs, tx.lock_time)
