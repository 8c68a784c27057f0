"""`limit`, `market` and `cancel`: from a message to an order that its market accepts (protocol section 5.7).

The checks are rows of `twinlock.protocol.intake`; here they are shown what the server knows, and between the two
halves of the table the coins are looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinlock.chain.errors import AddressError, CoinIdError
from twinlock.chain.family import Family
from twinlock.protocol.codes import ErrorCode
from twinlock.protocol.intake import Submission, after_coins, before_coins
from twinlock.protocol.messages.orders import OrderPrefix, OrderResult, PlaceCancel, PlaceLimit, PlaceMarket, Trade
from twinlock.protocol.orders import Side
from twinlock.protocol.routes import CANCEL, LIMIT, MARKET
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend
from twinlock.server.comms.hub import Call, Hub
from twinlock.server.market.errors import refused
from twinlock.server.market.funding import find_coins, total_funds
from twinlock.server.market.locks import CoinLocks
from twinlock.server.market.manager import MarketManager
from twinlock.server.market.upkeep import drop_spent
from twinlock.server.signatures import SignatureDesk
from twinlock.server.users.accounts import Account, Accounts


class Intake:
    """Answers the three order routes of all markets.

    markets: by (base, quote) asset ID. assets and locks: by asset ID.
    """

    def __init__(
        self,
        hub: Hub,
        accounts: Accounts,
        markets: Mapping[tuple[int, int], MarketManager],
        assets: Mapping[int, AssetBackend],
        locks: Mapping[int, CoinLocks],
        clock: Clock,
        signatures: SignatureDesk,
    ) -> None:
        self._accounts = accounts
        self._markets = markets
        self._assets = assets
        self._locks = locks
        self._clock = clock
        self._signatures = signatures
        hub.serve(LIMIT, self.limit, waits=True)
        hub.serve(MARKET, self.market, waits=True)
        hub.serve(CANCEL, self.cancel, waits=True)

    async def limit(self, call: Call[PlaceLimit]) -> OrderResult:
        """Place a limit order. Raises RpcError."""
        return await self._trade(call, call.payload)

    async def market(self, call: Call[PlaceMarket]) -> OrderResult:
        """Place a market order. Raises RpcError."""
        return await self._trade(call, call.payload)

    async def cancel(self, call: Call[PlaceCancel]) -> OrderResult:
        """Place a cancel order. Raises RpcError."""
        market = self._markets.get((call.payload.base, call.payload.quote))
        submission = self._submission(
            call,
            call.payload,
            market,
            signed=await self._signed(call),
            cancellable=lambda target: market is not None and market.core.cancellable(bytes(target)) is not None,
        )
        before_coins(submission)
        after_coins(submission)
        assert market is not None
        return await market.submit(call, call.payload)

    async def _trade(self, call: Call[Any], order: PlaceLimit | PlaceMarket) -> OrderResult:
        market = self._markets.get((order.base, order.quote))
        funded, received = (order.quote, order.base) if order.side == Side.BUY else (order.base, order.quote)
        signed = await self._signed(call)
        if market is None:
            before_coins(self._submission(call, order, None, signed=signed))
        assert market is not None
        asset, locks, family = self._assets[funded], self._locks[funded], self._assets[received].family
        submission = self._submission(
            call,
            order,
            market,
            signed=signed,
            receivable=lambda text: _receivable(family, text),
            well_formed_coin=lambda coin_id: _well_formed(asset.family, coin_id),
            locked=lambda coin_id: locks.holder(coin_id) is not None,
        )
        before_coins(submission)
        _check_repeats(order)
        coins = await find_coins(order, asset, self._clock)
        for other in self._markets.values():
            await drop_spent(other, other.due_for_a_look(call.account, funded), counted=True)
        # While the coins were looked for the book moved on, and so did the account.
        funds, required = total_funds(order, coins, market.rules(self._clock.now_ms()), market.book.mid_gap(), asset)
        again = self._submission(call, order, market, signed=signed, funds=funds, required=required)
        after_coins(again)
        if again.tier < 1:
            raise refused(ErrorCode.ACCOUNT_CLOSED, "tier", "the account's tier is below 1", fix="Post a bond.")
        return await market.submit(call, order, locks)

    async def _signed(self, call: Call[Any]) -> bool:
        """Whether the account's key signed the order."""
        message: OrderPrefix = call.payload
        return await self._signatures.check(self._account(call).pubkey, message.signed_bytes(), message.sig)

    def _account(self, call: Call[Any]) -> Account:
        account = self._accounts.get(call.account)
        if account is None:
            raise refused(ErrorCode.ACCOUNT_NOT_FOUND, "account", "no such account", fix="Send connect again.")
        return account

    def _submission(
        self, call: Call[Any], message: OrderPrefix, market: MarketManager | None, **known: Any
    ) -> Submission:
        account, now = self._account(call), self._clock.now_ms()
        return Submission(
            message=message,
            account_id=call.account,
            tier=self._accounts.standing(account).tier,
            now_ms=now,
            market=None if market is None else market.rules(now),
            mid_gap=0 if market is None else market.book.mid_gap(),
            **known,
        )


def _check_repeats(order: Trade) -> None:
    """A coin counts once, however often it is named."""
    if len({coin.coin_id for coin in order.coins}) != len(order.coins):
        raise refused(ErrorCode.FUNDING, "coin_repeated", "a coin is named twice", fix="Name every coin once.")


def _receivable(family: Family, text: str) -> bool:
    try:
        return family.check_receive_address(text) == text
    except AddressError:
        return False


def _well_formed(family: Family, coin_id: bytes) -> bool:
    try:
        family.parse_coin_id(coin_id)
    except CoinIdError:
        return False
    return True
