"""What an operator may look at and change."""

from __future__ import annotations

from collections.abc import Mapping

from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import PREPAID_CODE_BYTES
from twinlock.protocol.epoch import epoch_start
from twinlock.protocol.messages.book import OrderBook
from twinlock.protocol.messages.config import Config
from twinlock.protocol.messages.explain import Explanation
from twinlock.protocol.orders import CancelOrder
from twinlock.protocol.reputation import WEIGHTS
from twinlock.protocol.routes import NOTIFY
from twinlock.protocol.wire import Hex
from twinlock.seams import Clock, Entropy
from twinlock.server.assets import AssetBackend
from twinlock.server.comms.hub import Hub
from twinlock.server.data import DataDesk
from twinlock.server.db import Database, history
from twinlock.server.db.accounts import (
    PrepaidCode,
    add_codes,
    forgive_all,
    forgive_link,
    list_accounts,
    load_account,
    load_points,
)
from twinlock.server.db.audit import AuditEntry, add_audit, load_audit
from twinlock.server.db.fee_scales import put_fee_scale
from twinlock.server.db.history import Place
from twinlock.server.db.matches import StoredMatch, change_match
from twinlock.server.db.orders import StoredOrder
from twinlock.server.manager import DexManager
from twinlock.server.market.manager import MarketManager
from twinlock.server.users.accounts import Account
from twinlock.server.wallet import DexWallet

_DAY_S = 86_400
_CODES_MAX = 100
_DAYS_MAX = 3_650
_TIERS_MAX = 10_000
_NOTE_MAX = 4_096

Answer = dict[str, object]


class Operator:
    """One method per thing; all results are JSON."""

    def __init__(
        self,
        manager: DexManager,
        data: DataDesk,
        hub: Hub,
        database: Database,
        wallets: Mapping[str, DexWallet],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """wallets: by symbol, where the operator is paid."""
        self._manager = manager
        self._data = data
        self._hub = hub
        self._database = database
        self._wallets = wallets
        self._clock = clock
        self._entropy = entropy

    async def config(self) -> Config:
        """What clients are offered."""
        return self._data.config()

    # Accounts

    async def accounts(self, after: bytes, count: int) -> list[Hex]:
        """Account IDs, a page at a time."""
        return [Hex(found) for found in await list_accounts(self._database, after, count)]

    async def account(self, account_id: bytes) -> Answer:
        """Who an account is and how it stands."""
        account = await self._load(account_id)
        standing = self._manager.accounts.standing(account)
        return {
            "accountid": Hex(account_id),
            "pubkey": Hex(account.pubkey),
            "connected": self._hub.link_of(account_id) is not None,
            "tier": standing.tier,
            "reputation": standing.message(),
        }

    async def outcomes(self, account_id: bytes, count: int, *, bad: bool = False) -> list[Answer]:
        """The newest outcomes, newest first, each with the match or order it came from and what it costs."""
        points = await load_points(self._database, account_id, count)
        return [
            {
                "stamp": point.stamp,
                "outcome": point.outcome.name.lower(),
                "score": WEIGHTS[point.outcome].score,
                "link": Hex(point.link),
            }
            for point in reversed(points)
            if not bad or WEIGHTS[point.outcome].score < 0
        ]

    async def explain(self, account_id: bytes, count: int) -> Explanation:
        """Every point of an account's score, each with what it came from, signed."""
        return await self._manager.explainer.explain(await self._load(account_id), count)

    async def account_orders(self, account_id: bytes, after: Place, count: int) -> list[Answer]:
        """The orders of an account, newest first; a page begins after the (time, ID) of the last one before."""
        found = await history.read_orders(self._database, history.account_orders(account_id, after, count))
        return [_describe_order(stored) for stored in found]

    async def account_matches(self, account_id: bytes, after: Place, count: int) -> list[Answer]:
        """The matches of an account on either side, newest first, in such pages too."""
        query = history.account_matches(account_id, after, count)
        return [_describe_match(match) for match in await history.read_matches(self._database, query)]

    async def audit(self, before: int, count: int) -> list[AuditEntry]:
        """What operators changed or tried to, newest first."""
        return await load_audit(self._database, before, count)

    async def record(self, entry: AuditEntry) -> None:
        """Keep a request of an operator for ever."""
        await self._database.write(add_audit(entry))

    def now_ms(self) -> int:
        """The server's time."""
        return self._clock.now_ms()

    async def forgive_account(self, account_id: bytes) -> Answer:
        """Drop every bad outcome of an account."""
        await self._load(account_id)
        await self._database.write(forgive_all(account_id))
        return await self._forgiven(account_id)

    async def forgive_match(self, account_id: bytes, match_id: bytes) -> Answer:
        """Turn what one match cost an account into a success."""
        await self._load(account_id)
        await self._database.write(forgive_link(account_id, match_id), change_match(match_id, forgiven=True))
        return await self._forgiven(account_id)

    async def _forgiven(self, account_id: bytes) -> Answer:
        account = await self._load(account_id)
        stored = await load_account(self._database, account_id)
        before, after = self._manager.reputations.forgive(account, stored.points if stored is not None else ())
        return {
            "accountid": Hex(account_id),
            "forgiven": True,
            "unbanned": before.tier < 1 <= after.tier,
            "forgivetime": self._clock.now_ms(),
        }

    async def notify(self, account_id: bytes, text: str) -> Answer:
        """Send an account a line of text."""
        return {"sent": self._hub.send(account_id, NOTIFY, text[:_NOTE_MAX])}

    async def notify_all(self, text: str) -> Answer:
        """Send everybody a line of text."""
        self._hub.tell_everyone(NOTIFY, text[:_NOTE_MAX])
        return {"sent": self._hub.connected > 0}

    async def prepaid_bonds(self, count: int, days: int, strength: int) -> list[Hex]:
        """New codes that count as bonds for so many days."""
        limits = {"codes": (count, _CODES_MAX), "days": (days, _DAYS_MAX), "tiers": (strength, _TIERS_MAX)}
        for what, (asked, most) in limits.items():
            if not 1 <= asked <= most:
                raise RpcError(ErrorCode.INVALID_REQUEST, f"{asked} {what}", fix=f"ask for 1 to {most} {what}")
        lock_time = self._clock.now_ms() // 1000 + days * _DAY_S + self._manager.accounts.expiry_s
        codes = [PrepaidCode(self._entropy.token(PREPAID_CODE_BYTES), strength, lock_time) for _ in range(count)]
        await self._database.write(add_codes(codes))
        return [Hex(code.code) for code in codes]

    # Assets and markets

    async def assets(self) -> list[Answer]:
        """All assets."""
        return [await self.asset(entry.symbol) for entry in self._data.config().assets]

    async def asset(self, symbol: str) -> Answer:
        """How an asset's chain is seen."""
        asset = self._asset(symbol)
        return {
            "symbol": asset.coin.symbol,
            "id": asset.coin.asset_id,
            "maxfeerate": asset.terms.max_fee_rate,
            "currentFeeRate": asset.chain_fee_rate,
            "scaledFeeRate": asset.fee_rate,
            "synced": asset.synced,
        }

    async def addresses(self, symbol: str, first: int, count: int) -> list[Answer]:
        """Receiving addresses of the operator's own wallet, from a number on, for what the operator sells."""
        wallet = self._wallets.get(self._asset(symbol).coin.symbol)
        if wallet is None:
            fix = "set bond_xpub of the asset in the configuration"
            raise RpcError(ErrorCode.INVALID_REQUEST, f"there is no wallet for {symbol}", fix=fix)
        return [{"index": index, "address": wallet.address(index)} for index in range(first, first + count)]

    async def set_fee_scale(self, symbol: str, factor: float) -> Answer:
        """Scale the fee rates that matches must pay, from now on and after every restart."""
        if not 0 < factor <= 100:
            raise RpcError(ErrorCode.INVALID_REQUEST, "a fee scale is above 0 and at most 100")
        asset = self._asset(symbol)
        await self._database.write(*put_fee_scale(asset.coin.symbol, factor, asset.terms.fee_scale))
        asset.set_fee_scale(factor)
        return {"symbol": symbol, "feescale": factor}

    async def markets(self) -> list[Answer]:
        """All markets."""
        return [self._describe(market) for market in self._manager.markets.values()]

    async def market(self, name: str) -> Answer:
        """One market."""
        return self._describe(self._market(name))

    async def book(self, name: str) -> OrderBook:
        """The orders at rest."""
        return await self._market(name).snapshot()

    async def epoch_orders(self, name: str) -> list[Answer]:
        """The orders of the epochs that are not processed yet."""
        return [
            {
                "oid": Hex(order.id),
                "otype": int(order.order_type),
                "time": order.server_time,
                "qty": 0 if isinstance(order, CancelOrder) else order.quantity,
            }
            for order in self._market(name).core.epoch_orders()
        ]

    async def market_orders(self, name: str, after: Place, count: int) -> list[Answer]:
        """The orders of a market, in such pages too."""
        query = history.market_orders(self._market(name).terms.name, after, count)
        return [
            _describe_order(stored) | {"account": Hex(stored.order.account_id)}
            for stored in await history.read_orders(self._database, query)
        ]

    async def matches(self, name: str, after: Place, count: int, *, ended: bool) -> list[Answer]:
        """The matches of a market, newest first, in such pages too; ended: also those that settle no more."""
        query = history.market_matches(self._market(name).terms.name, after, count, ended=ended)
        return [_describe_match(match) for match in await history.read_matches(self._database, query)]

    async def suspend(self, name: str, at_ms: int, *, persist: bool) -> Answer:
        """Stop a market after its current epoch, or after the one that holds that moment."""
        final = await self._manager.suspend(name, at_ms, persist=persist)
        # The member is spelled like this on every server.
        stop = epoch_start(final + 1, self._market(name).terms.epoch_ms)
        return {"market": name, "finalepoch": final, "supendtime": stop}

    async def resume(self, name: str, at_ms: int) -> Answer:
        """Start a stopped market."""
        start = await self._manager.resume(name, at_ms)
        return {"market": name, "startepoch": start, "starttime": epoch_start(start, self._market(name).terms.epoch_ms)}

    async def switch_data_api(self, on: bool) -> Answer:
        """Answer the data API, or not."""
        self._hub.data_api = on
        return {"enabled": on}

    def _describe(self, market: MarketManager) -> Answer:
        schedule = market.schedule
        answer: Answer = {
            "market": market.terms.name,
            "running": market.running(self._clock.now_ms()),
            "epochlen": market.terms.epoch_ms,
            "activeepoch": market.now(),
            "startepoch": schedule.start_epoch,
        }
        if schedule.final_epoch:
            answer |= {"finalepoch": schedule.final_epoch, "persistbook": schedule.persist_book}
        return answer

    def _market(self, name: str) -> MarketManager:
        return self._manager.find_market(name)

    def _asset(self, symbol: str) -> AssetBackend:
        return self._data.asset(symbol)

    async def _load(self, account_id: bytes) -> Account:
        account = await self._manager.accounts.load(account_id)
        if account is None:
            raise RpcError(ErrorCode.ACCOUNT_NOT_FOUND, "no such account")
        return account


def _describe_order(stored: StoredOrder) -> Answer:
    order = stored.order
    return {
        "oid": Hex(order.id),
        "market": stored.market,
        "otype": int(order.order_type),
        "status": stored.status.name.lower(),
        "qty": 0 if isinstance(order, CancelOrder) else order.quantity,
        "filled": 0 if isinstance(order, CancelOrder) else order.filled,
        "target": Hex(order.target_id) if isinstance(order, CancelOrder) else Hex(),
        "byserver": not any(order.commitment),
        "time": order.server_time,
        "epoch": stored.epoch,
    }


def _describe_match(match: StoredMatch) -> Answer:
    return {
        "id": Hex(match.match_id),
        "market": match.market,
        "takeraccount": Hex(match.taker_account),
        "makeraccount": Hex(match.maker_account),
        "takerorder": Hex(match.taker_order),
        "makerorder": Hex(match.maker_order),
        "qty": match.quantity,
        "rate": match.rate,
        "status": match.status,
        "active": match.active,
        "iscancel": match.is_cancel,
        "forgiven": match.forgiven,
        "matchtime": match.match_time,
        "epoch": match.epoch,
    }
