"""The fake's offer, logins and bonds."""

from __future__ import annotations

import msgspec
from tests.client.fake_server.ground import Account, Ground, Peer
from tests.client.fake_server.notes import (
    BOND,
    BROADCAST_TIMEOUT_MS,
    BTC,
    EPOCH_MS,
    LOT,
    LTC,
    MARKET,
    asset_of,
    note_of,
)

from twinlock.chain.coins import coin
from twinlock.chain.families import family_of
from twinlock.protocol import signing
from twinlock.protocol.account import account_id
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import PREPAID_ASSET_ID
from twinlock.protocol.messages import account as accounts
from twinlock.protocol.messages import book as books
from twinlock.protocol.messages import config as configs
from twinlock.protocol.messages import orders as order_messages
from twinlock.protocol.messages import status as statuses
from twinlock.protocol.messages.explain import Explanation
from twinlock.protocol.wire import Hex


class Entrance(Ground):
    """Answers whoever looks or comes in."""

    async def _explain(self, _peer: Peer, _payload: object) -> Explanation:
        if self.explanation is None:
            raise RpcError(ErrorCode.UNKNOWN_ROUTE, "unknown route")
        return self.explanation

    async def _config(self, _peer: Peer, _payload: None) -> configs.Config:
        return configs.Config(
            api_version=3,
            public_key=Hex(self.key.public),
            cancel_max=0.95,
            broadcast_timeout_ms=BROADCAST_TIMEOUT_MS,
            assets=[asset_of("ltc", LTC, 1), asset_of("btc", BTC, 0)],
            markets=[
                configs.Market(
                    name=MARKET,
                    base=LTC,
                    quote=BTC,
                    epoch_ms=EPOCH_MS,
                    lot_size=LOT,
                    rate_step=100,
                    buy_buffer=1.25,
                    parcel_size=10,
                    status=configs.MarketStatus(start_epoch=1),
                )
            ],
            bin_sizes=["24h"],
            bond_assets={"btc": configs.BondAsset(version=0, id=BTC, confs=1, amount=BOND)},
            bond_expiry_s=240,
            penalty_threshold=20,
            max_score=60,
            order_options=list(order_messages.OPTION_NAMES) if self.knows_options else msgspec.UNSET,
        )

    async def _price_feed(self, _peer: Peer, _payload: None) -> dict[str, books.Spot]:
        return {}

    async def _orderbook(self, _peer: Peer, _payload: books.BookSubscription) -> books.OrderBook:
        return books.OrderBook(
            market=MARKET, seq=self.seq, epoch=self._epochs, orders=[note_of(order, 0) for order in self.book]
        )

    async def _connect(self, peer: Peer, login: accounts.Connect) -> accounts.ConnectResult:
        account = self.accounts.get(bytes(login.account_id))
        if account is None:
            raise RpcError(ErrorCode.ACCOUNT_NOT_FOUND, "no such account")
        signing.require(account.pubkey, login.signed_bytes(), login.sig)
        before, account.peer, peer.account = account.peer, peer, bytes(login.account_id)
        if before is not None and before is not peer:
            await before.link.close()  # One link per account (protocol section 3.3).
        active = [match for match in self.matches.values() if match.active]
        return accounts.ConnectResult(
            sig=self._sign(login.signed_bytes()),
            score=0,
            active_orders=[
                statuses.ActiveOrder(id=Hex(order_id), status=status)
                for order_id, status in self.statuses.items()
                if status in (1, 2) and self._owner(order_id) == peer.account
            ],
            active_matches=[
                statuses.ActiveMatch(
                    order_id=Hex(match.orders[side].id),
                    match_id=Hex(match.match.id),
                    quantity=match.match.quantity,
                    rate=match.match.rate,
                    server_time=match.server_time,
                    address=match.addresses[1 - side],
                    fee_rate_base=2,
                    fee_rate_quote=2,
                    status=match.status,
                    side=side,
                )
                for match in active
                for side in (0, 1)
                if match.account(side) == peer.account
            ],
            active_bonds=account.bonds,
            reputation=self._reputation(account),
        )

    async def _prevalidatebond(self, _peer: Peer, question: accounts.PreValidateBond) -> accounts.PreValidateBondResult:
        signing.require(question.account_key, question.signed_bytes(), question.sig)
        terms = family_of(coin("btc", "regtest")).parse_bond_tx(question.tx)
        assert terms.account_id == account_id(question.account_key)
        answer = accounts.PreValidateBondResult(
            account_id=Hex(terms.account_id), asset_id=BTC, amount=terms.amount, expiry=terms.lock_time - 240
        )
        return msgspec.structs.replace(answer, sig=self._sign(answer.signed_bytes(question.tx)))

    async def _postbond(self, _peer: Peer, claim: accounts.PostBond) -> accounts.PostBondResult:
        signing.require(claim.account_key, claim.signed_bytes(), claim.sig)
        if claim.asset_id == PREPAID_ASSET_ID:
            return self._post_prepaid(claim)
        family, chain = family_of(coin("btc", "regtest")), self.chains[BTC]
        terms = family.parse_bond_tx(chain.tx(family.parse_coin_id(claim.coin_id).txid).serialize())
        identity = account_id(claim.account_key)
        account = self.accounts.setdefault(identity, Account(bytes(claim.account_key)))
        strength = terms.amount // BOND
        if all(bond.coin_id != claim.coin_id for bond in account.bonds):
            expiry = terms.lock_time - 240
            account.bonds.append(
                accounts.ActiveBond(
                    version=0,
                    amount=terms.amount,
                    expiry=expiry,
                    coin_id=claim.coin_id,
                    asset_id=BTC,
                    strength=strength,
                )
            )
        answer = accounts.PostBondResult(
            account_id=Hex(identity),
            asset_id=BTC,
            amount=terms.amount,
            expiry=terms.lock_time - 240,
            strength=strength,
            bond_id=claim.coin_id,
            reputation=self._reputation(account),
        )
        return msgspec.structs.replace(answer, sig=self._sign(answer.signed_bytes()))

    def _post_prepaid(self, claim: accounts.PostBond) -> accounts.PostBondResult:
        identity = account_id(claim.account_key)
        if bytes(claim.coin_id) not in self.codes:
            raise RpcError(ErrorCode.BOND, "no such code")
        strength = self.codes.pop(bytes(claim.coin_id))
        account = self.accounts.setdefault(identity, Account(bytes(claim.account_key)))
        bond = accounts.ActiveBond(
            version=0, amount=0, expiry=2**32, coin_id=claim.coin_id, asset_id=PREPAID_ASSET_ID, strength=strength
        )
        account.bonds.append(bond)
        answer = accounts.PostBondResult(
            account_id=Hex(identity),
            asset_id=PREPAID_ASSET_ID,
            amount=0,
            expiry=2**32,
            strength=strength,
            bond_id=claim.coin_id,
            reputation=self._reputation(account),
        )
        return msgspec.structs.replace(answer, sig=self._sign(answer.signed_bytes()))

    def _reputation(self, account: Account) -> accounts.Reputation:
        tier = sum(bond.strength for bond in account.bonds)
        return accounts.Reputation(bonded_tier=tier, penalties=0, score=0)
