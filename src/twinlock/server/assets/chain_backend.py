"""The backend of every asset whose chain has scripts and outputs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import structlog

from twinlock.chain.coinproof import judge_proof
from twinlock.chain.coins import Coin
from twinlock.chain.errors import CoinIdError
from twinlock.chain.families import family_of
from twinlock.chain.family import Family
from twinlock.chain.signatures import Claim, check_many
from twinlock.chain.terms import CoinPoint
from twinlock.electrum.errors import ElectrumError, UnknownTransactionError
from twinlock.electrum.states import OutputStatus, Tip
from twinlock.protocol.constants import MAX_COINS
from twinlock.protocol.messages.orders import Coin as CoinProof
from twinlock.seams import Clock
from twinlock.server.assets.backend import (
    AssetTerms,
    BondCoin,
    CoinNotFoundError,
    CoinSpentError,
    FeeUnknownError,
    FundingCoin,
    Redeeming,
    RedemptionError,
    SwapCoin,
)
from twinlock.server.assets.fees import FeeRate

# Looking up what a transaction paid costs one question per input; above this it must be confirmed. One order may name
# many coins, each with a transaction of its own; a match has one swap, which may spend all coins of its order.
_FUNDING_INPUTS_MAX, _SWAP_INPUTS_MAX = 100, MAX_COINS
_FEE_WAIT_S = 1.0
_RETRY_S = 5.0

log = structlog.get_logger(__name__)


async def claim_holds(claim: Claim) -> bool:
    """Check a signature here and now."""
    return check_many([claim])[0]


class ChainSource(Protocol):
    """What the backend asks of a chain; `twinlock.electrum.view.ChainView` is one."""

    @property
    def connected(self) -> bool: ...

    def subscribe_tip(self) -> AsyncIterator[Tip]: ...

    async def raw_transaction(self, txid: str) -> bytes: ...

    async def output(self, point: CoinPoint) -> OutputStatus | None: ...

    async def confirmations(self, txid: str, script: bytes) -> int | None: ...

    async def fee_rate(self, target: int = 2) -> int: ...


class ChainBackend:
    """An `AssetBackend` on a `ChainSource`."""

    def __init__(
        self,
        coin: Coin,
        source: ChainSource,
        terms: AssetTerms,
        clock: Clock,
        scale: float = 1.0,
        holds: Callable[[Claim], Awaitable[bool]] = claim_holds,
    ) -> None:
        """holds: who checks the signatures of coins."""
        self._coin = coin
        self._family = family_of(coin)
        self._source = source
        self._terms = terms
        self._clock = clock
        self._holds = holds
        self._tip: Tip | None = None
        self._callbacks: list[Callable[[], None]] = []
        self.fees = FeeRate(terms.max_fee_rate, clock.now_ms, scale)

    @property
    def coin(self) -> Coin:
        return self._coin

    @property
    def family(self) -> Family:
        return self._family

    @property
    def terms(self) -> AssetTerms:
        return self._terms

    @property
    def synced(self) -> bool:
        return self._tip is not None and self._source.connected

    @property
    def fee_rate(self) -> int:
        return self.fees.current

    @property
    def chain_fee_rate(self) -> int:
        return self.fees.fetched

    def on_block(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def run(self) -> None:
        while True:
            try:
                async for tip in self._source.subscribe_tip():
                    self._tip = tip
                    for callback in self._callbacks:
                        callback()
            except ElectrumError as error:
                log.warning("chain out of view", asset=self._coin.symbol, error=str(error))
            await self._clock.sleep(_RETRY_S)

    async def refresh_fee_rate(self) -> int:
        try:
            async with asyncio.timeout(_FEE_WAIT_S):
                fetched = await self._source.fee_rate()
        except (ElectrumError, TimeoutError):
            fetched = 0
        return self.fees.observe(fetched)

    def set_fee_scale(self, factor: float) -> None:
        self.fees.scale = factor

    async def funding(self, proof: CoinProof) -> FundingCoin:
        output = await self._unspent_output(proof.coin_id)
        if output.coinbase and output.confirmations < self._coin.maturity:
            raise CoinNotFoundError(
                f"a mined coin needs {self._coin.maturity} confirmations",
                numbers={"confirmations": output.confirmations},
                fix="wait, or fund the order with another coin",
            )
        claims = self._family.coin_proof_claims(
            output.script, proof.redeem, proof.coin_id, proof.public_keys, proof.signatures
        )
        judge_proof(claims, [await self._holds(claim) for claim in claims])
        size = self._family.input_size(output.script, proof.redeem)
        rate = None if output.confirmations else await self._paid_rate(output.point)
        return FundingCoin(bytes(proof.coin_id), output.value, size, output.confirmations, rate)

    async def unspent(self, coin_id: bytes) -> bool:
        output = await self._source.output(self._family.parse_coin_id(coin_id))
        return output is not None and output.unspent

    async def swap(self, coin_id: bytes, contract: bytes) -> SwapCoin:
        point = self._family.parse_coin_id(coin_id)
        raw = await self._raw(point)
        audit = self._family.audit_contract(contract, coin_id, raw)
        confirmations = await self._source.confirmations(point.txid, self._family.contract_script(contract))
        rate = None if confirmations else await self._rate_of(raw, point, _SWAP_INPUTS_MAX)
        return SwapCoin(audit.terms, audit.value, confirmations or 0, rate, raw)

    async def swap_confirmations(self, coin_id: bytes, contract: bytes) -> int | None:
        point = self._family.parse_coin_id(coin_id)
        return await self._source.confirmations(point.txid, self._family.contract_script(contract))

    async def redemption(self, coin_id: bytes, swap_coin: bytes, contract: bytes) -> None:
        point = self._family.parse_coin_id(coin_id)
        raw = await self._raw(point)
        try:
            spent = self._family.spends(raw, point.index)
        except CoinIdError as error:
            raise RedemptionError(str(error)) from error
        if spent != self._family.parse_coin_id(swap_coin):
            raise RedemptionError(
                f"{self._family.coin_id_text(coin_id)} spends {spent}, not the contract",
                numbers={"contract": contract.hex()[:16]},
                fix="name the input that spends the counterparty's contract",
            )

    async def redeemed(self, swap_coin: bytes, contract: bytes) -> Redeeming | None:
        point = self._family.parse_coin_id(swap_coin)
        output = await self._source.output(point)
        if output is None or output.spender is None:
            return None
        raw = await self._source.raw_transaction(output.spender)
        secret = self._family.find_secret(raw, point, self._family.parse_contract(contract).secret_hash)
        if secret is None:
            return None
        return Redeeming(self._family.coin_id(output.spender, self._family.inputs(raw).index(point)), secret)

    async def bond(self, coin_id: bytes) -> BondCoin:
        output = await self._unspent_output(coin_id)
        terms = self._family.parse_bond_tx(await self._raw(output.point))
        if terms.point != output.point:
            raise CoinIdError("a bond is output 0 of its transaction", fix="name output 0")
        return BondCoin(terms, output.confirmations)

    async def _unspent_output(self, coin_id: bytes) -> OutputStatus:
        point = self._family.parse_coin_id(coin_id)
        try:
            output = await self._source.output(point)
        except UnknownTransactionError:
            output = None
        if output is None:
            raise CoinNotFoundError(f"no coin {point} on {self._coin.name}", fix="broadcast it, or name another coin")
        if not output.unspent:
            raise CoinSpentError(f"coin {point} is spent by {output.spender}", fix="fund the order with another coin")
        return output

    async def _raw(self, point: CoinPoint) -> bytes:
        try:
            return await self._source.raw_transaction(point.txid)
        except UnknownTransactionError as error:
            raise CoinNotFoundError(
                f"no transaction {point.txid} on {self._coin.name}", fix="broadcast it again"
            ) from error

    async def _paid_rate(self, point: CoinPoint) -> int:
        return await self._rate_of(await self._raw(point), point, _FUNDING_INPUTS_MAX)

    async def _rate_of(self, raw: bytes, point: CoinPoint, most: int) -> int:
        """Atoms per fee unit that a coin's transaction pays. Raises FeeUnknownError."""
        points = self._family.inputs(raw)
        if len(points) > most:
            raise FeeUnknownError(point.txid, len(points), most)
        # From the transactions themselves: a parent sent a moment ago may not be in any script's history yet.
        parents = await asyncio.gather(*(self._raw(point) for point in points))
        spent = zip(parents, points, strict=True)
        return self._family.fee_rate(
            raw, sum(self._family.output_value(parent, point.index) for parent, point in spent)
        )
