"""Proof of funds: the coins of an order are there, belong to its owner and pay their way (protocol section 5.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from twinlock.chain.errors import ChainError, CoinProofError
from twinlock.electrum.errors import ElectrumError
from twinlock.protocol.codes import ErrorCode, refuse
from twinlock.protocol.constants import FUNDING_RETRY_MS, FUNDING_SEARCH_MS
from twinlock.protocol.funding import MarketRules, lots, swap_value
from twinlock.protocol.messages.orders import Coin as CoinProof
from twinlock.protocol.messages.orders import PlaceLimit, PlaceMarket
from twinlock.seams import Clock
from twinlock.server.assets import AssetBackend, CoinNotFoundError, FundingCoin
from twinlock.server.assets.backend import CoinSpentError, FeeUnknownError
from twinlock.server.market.errors import refused


async def find_coins(order: PlaceLimit | PlaceMarket, asset: AssetBackend, clock: Clock) -> Sequence[FundingCoin]:
    """Look the coins up, again and again for up to a minute; rows 17 to 19. Raises RpcError."""
    deadline = clock.now_ms() + FUNDING_SEARCH_MS
    while True:
        try:
            coins = await _find_all(order.coins, asset)
        except CoinNotFoundError as error:
            if clock.now_ms() + FUNDING_RETRY_MS > deadline:
                raise refuse(ErrorCode.TRANSACTION_UNDISCOVERED, error) from error
            await clock.sleep(FUNDING_RETRY_MS / 1000)
            continue
        for coin in coins:
            _check_fee(coin, asset)
        return coins


def total_funds(
    order: PlaceLimit | PlaceMarket,
    coins: Sequence[FundingCoin],
    rules: MarketRules,
    mid_gap: int,
    asset: AssetBackend,
) -> tuple[int, int]:
    """(what the coins hold, what the worst case needs), in atoms."""
    size = sum(coin.input_size for coin in coins)
    required = asset.family.required_funds(
        swap_value(order), lots(order, rules, mid_gap), size, asset.terms.max_fee_rate
    )
    return sum(coin.value for coin in coins), required


async def _find_all(proofs: Sequence[CoinProof], asset: AssetBackend) -> Sequence[FundingCoin]:
    if len(proofs) == 1:  # as most orders have; a task of its own would cost more than the look
        return [await _find(proofs[0], asset)]
    return await asyncio.gather(*(_find(proof, asset) for proof in proofs))


async def _find(proof: CoinProof, asset: AssetBackend) -> FundingCoin:
    try:
        return await asset.funding(proof)
    except (CoinSpentError, FeeUnknownError) as error:
        raise refuse(ErrorCode.FUNDING, error) from error
    except CoinProofError as error:
        raise refuse(ErrorCode.COIN_AUTH, error) from error
    except ChainError as error:
        raise refuse(ErrorCode.FUNDING, error) from error
    except ElectrumError as error:
        raise refuse(ErrorCode.TRY_AGAIN_LATER, error) from error


def _check_fee(coin: FundingCoin, asset: AssetBackend) -> None:
    """An unconfirmed coin must pay nine tenths of the going rate, or it may never confirm."""
    least = (9 * asset.fee_rate + 5) // 10
    if coin.fee_rate is not None and coin.fee_rate < least:
        raise refused(
            ErrorCode.FUNDING,
            "coin_fee",
            "an unconfirmed coin pays too low a fee",
            fix="Wait for its confirmation.",
            fee_rate=coin.fee_rate,
            least=least,
        )
