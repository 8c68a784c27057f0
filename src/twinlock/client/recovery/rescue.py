"""All that the seed can bring back, step by step: wallets, accounts, bonds, swaps; and their end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from twinlock.client.config import ClientConfig
from twinlock.client.control import showing, views
from twinlock.client.keys import TraderKeys
from twinlock.client.recovery.bonds import find_bonds
from twinlock.client.recovery.file import RecoveryFileError, read
from twinlock.client.recovery.loose import LooseView, find_loose
from twinlock.client.recovery.restore import check_network, restore
from twinlock.client.seed import Phrase, keep
from twinlock.client.store import Store
from twinlock.client.store.records import AccountRecord, BondRecord
from twinlock.client.trader import Trader
from twinlock.errors import TwinlockError

PATIENCE_S = 60.0
"""Seconds that wallets and servers are waited for before the report says that they did not answer."""

LOOK_S = 1.0


class AccountView(msgspec.Struct, frozen=True):
    """An account that was found. index: of its key, the first is 0."""

    host: str
    account_id: str
    index: int


class Report(msgspec.Struct, frozen=True):
    """What was found. silent: servers and coins that did not answer, so that something may still be missing.

    loose: unspent outputs of ours that may be contracts of matches which no server lists any more.
    """

    accounts: list[AccountView]
    bonds: list[views.BondView]
    swaps: list[views.SwapView]
    wallets: list[views.WalletView]
    silent: list[str]
    loose: list[LooseView] = []

    @property
    def open_swaps(self) -> int:
        """How many are still to be finished or refunded."""
        return sum(not swap.outcome for swap in self.swaps)

    @property
    def empty(self) -> bool:
        """Everybody answered, and nothing anywhere belongs to this seed: it may be the wrong one."""
        owned = self.accounts or self.bonds or self.swaps or self.loose or any(row.total for row in self.wallets)
        return not owned and not self.silent


def prepare(store: Store, config: ClientConfig, phrase: Phrase, file: Path | None) -> int:
    """Put the seed and the recovery file's records into the store; returns how many records were new.

    Raises ClientError for another seed than the store's, RecoveryFileError, ConfigError.
    """
    with store.transaction():
        keep(store, phrase)
        return 0 if file is None else _restore_file(store, config, phrase, file)


def _restore_file(store: Store, config: ClientConfig, phrase: Phrase, file: Path) -> int:
    try:
        sealed = file.read_bytes()
    except OSError as error:
        raise RecoveryFileError(f"cannot read {file}: {error.strerror}", fix="name a readable file") from error
    contents = read(TraderKeys(phrase.master()).recovery_key(), sealed)
    check_network(contents, config.network)
    return restore(store, contents, [server.host for server in config.servers])


async def rescue(trader: Trader, *, finish: bool = True, say: Callable[[str], None] = lambda _: None) -> Report:
    """Find what there is, and with `finish` stay until no swap is open: a refund may take as long as its lock time.

    Stopping it early loses nothing: the same goes on whenever the client runs.
    """
    silent = await _until_answered(trader)
    for name in silent:
        say(f"{name} does not answer")
    await _find_bonds(trader, say)
    loose = await _find_loose(trader, say)
    report = report_of(trader, silent)
    say(f"found {len(report.accounts)} accounts, {len(report.bonds)} bonds, {report.open_swaps} open swaps")
    while finish and report_of(trader, silent).open_swaps:
        await trader.clock.sleep(LOOK_S)
    return msgspec.structs.replace(report_of(trader, silent), loose=loose)


def report_of(trader: Trader, silent: list[str]) -> Report:
    """The report as things stand now."""
    # As stored, not as logged in: the recovery file knows the account at a server that is gone.
    known = [account for account in trader.store.all(AccountRecord) if account.exists]
    accounts = [AccountView(account.host, account.account_id.hex(), account.key_index) for account in known]
    return Report(
        accounts=accounts,
        bonds=[showing.bond_view(trader, bond) for bond in trader.bonds()],
        swaps=[showing.swap_view(trader, swap) for swap in trader.swaps()],
        wallets=[showing.wallet_view(side) for side in trader.coins.values()],
        silent=silent,
    )


async def _until_answered(trader: Trader) -> list[str]:
    """Wait for every wallet and server, but not for ever; who did not answer."""
    deadline = trader.clock.monotonic() + PATIENCE_S
    while (silent := _silent(trader)) and trader.clock.monotonic() < deadline:
        await trader.clock.sleep(LOOK_S)
    return silent


def _silent(trader: Trader) -> list[str]:
    wallets = [side.coin.name for side in trader.coins.values() if not side.wallet.scanned]
    return wallets + [host for host, venue in trader.venues.items() if not venue.desk.session.ready.is_set()]


async def _find_loose(trader: Trader, say: Callable[[str], None]) -> list[LooseView]:
    found: list[LooseView] = []
    for side in trader.coins.values():
        try:
            found += await find_loose(side) if side.wallet.scanned else []
        except TwinlockError as error:
            say(f"{side.coin.name} cannot be looked through now: {error}")
    for each in found:
        say(f"{each.amount} atoms of {each.asset} lie at {each.coin}: if a swap is meant, give the recovery file")
    return found


async def _find_bonds(trader: Trader, say: Callable[[str], None]) -> None:
    if not trader.venues:
        return
    first = next(iter(trader.venues.values()))
    hosts = {
        venue.desk.account.account_id: host for host, venue in trader.venues.items() if venue.desk.account is not None
    }
    for side in trader.coins.values():
        if not side.wallet.scanned:
            continue
        try:
            found = await find_bonds(side, first.desk.keys, hosts, first.desk.host)
        except TwinlockError as error:
            say(f"bonds in {side.coin.name} cannot be looked for now: {error}")
            continue
        known = {(bond.asset_id, bond.coin_id) for bond in trader.bonds()}
        for bond in found:
            if (bond.asset_id, bond.coin_id) not in known:
                _adopt(trader, bond)


def _adopt(trader: Trader, bond: BondRecord) -> None:
    venue = trader.venue(bond.host)
    account = venue.desk.account.account_id.hex() if venue.desk.account else ""
    venue.bonds.adopt(bond, account)
