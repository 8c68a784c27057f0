"""Traders for stories: fresh wallets, a little money, a bond, and a wait for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from decimal import Decimal

from twinlock.chain.coins import Coin, Network
from twinlock.client.config import ClientConfig, LockConfig, Pace, ServerConfig, WalletConfig
from twinlock.client.store.vault import Cost
from twinlock.client.trader import Trader, initialize
from twinlock.client.wallet.types import Balance
from twinlock.seams import Entropy
from twinlock.simnet.exchange import Exchange
from twinlock.simnet.node import COIN_ATOMS

PASSWORD = "play money"  # noqa: S105 - it guards coins of private chains
CHEAP = Cost(passes=1, memory_kib=8, lanes=1)
PIECES = 4


def configuration(exchange: Exchange, name: str) -> ClientConfig:
    """What `twinlock client` would read from the trader's file."""
    plan = exchange.plan
    return ClientConfig(
        data_dir=str(exchange.folder / name),
        network=Network.REGTEST,
        wallets=tuple(WalletConfig(symbol=symbol, electrum=(exchange.electrum(symbol),)) for symbol in plan.symbols),
        servers=(ServerConfig(host=exchange.host, certificate=str(exchange.certificate), follow=(plan.market,)),),
        locks=LockConfig(maker=plan.lock_maker_s, taker=plan.lock_taker_s),
        pace=Pace(reconnect_step=0.5, reconnect_most=2.0, request_timeout=20.0, swap_check=1.0, bond_check=2.0),
    )


def fresh(exchange: Exchange, name: str, entropy: Entropy) -> Trader:
    """A trader with a new seed; enter it as a context to connect it."""
    config = configuration(exchange, name)
    initialize(config, PASSWORD, entropy=entropy, cost=CHEAP)
    return Trader(config, PASSWORD, clock=exchange.clock, entropy=entropy)


async def fund(exchange: Exchange, trader: Trader, atoms: dict[str, int]) -> None:
    """Pay a trader from the miners, in a few coins each so that a bond and an order find one of their own."""
    for symbol, amount in atoms.items():
        addresses = [await trader.wallet(symbol).new_address() for _ in range(PIECES)]
        await pay(exchange, symbol, addresses, amount // PIECES)


async def pay(exchange: Exchange, symbol: str, addresses: Sequence[str], atoms: int) -> None:
    """Pay each of them so much from the miner, all in one transaction."""
    amounts = dict.fromkeys(addresses, f"{Decimal(atoms) / COIN_ATOMS:.8f}")
    await exchange.nodes[symbol].rpc("sendmany", "", amounts, wallet="miner")


async def until_balance(trader: Trader, symbol: str, holds: Callable[[Balance], bool]) -> Balance:
    """The trader's balance, once it is as wanted."""
    async with aclosing(trader.wallet(symbol).changes()) as balances:  # type: ignore[type-var]
        async for balance in balances:
            if holds(balance):
                return balance
    raise RuntimeError("the wallet was closed")


async def until(trader: Trader, holds: Callable[[], bool]) -> None:
    """Return when something that the trader knows is as wanted."""
    while not holds():
        await trader.clock.sleep(0.05)


def may_trade(trader: Trader) -> bool:
    """Whether the exchange has an account of the trader's that stands on a bond, and it is logged in."""
    venue = trader.venue()
    return venue.desk.logged_in and venue.bonds.tier >= 1


def settled(balance: Balance) -> bool:
    """Whether nothing is under way: what there is is free, or locked up in bonds."""
    return balance.total == balance.available + balance.bonded


def amount(atoms: int, coin: Coin) -> str:
    """For people: all digits, and the unit. ``2.00000000 LTC``."""
    digits = len(str(coin.conversion_factor)) - 1
    sign, atoms = ("-", -atoms) if atoms < 0 else ("", atoms)
    whole, part = divmod(atoms, coin.conversion_factor)
    return f"{sign}{whole}.{part:0{digits}} {coin.unit}"
