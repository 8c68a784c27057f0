"""Everything that an exchange needs, checked one by one: green, or red with what to do about it.

Each check stands alone, so that one answer does not hide another; none changes anything.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography import x509
from sqlalchemy.ext.asyncio import create_async_engine

from twinlock.chain.coins import Coin, Network, coin
from twinlock.chain.families import family_of
from twinlock.chain.header import HEADER_SIZE, Header
from twinlock.electrum import methods
from twinlock.electrum.connection import Connection
from twinlock.electrum.errors import ElectrumError, LyingServerError
from twinlock.electrum.transport import Dial, Dialer, Endpoint
from twinlock.errors import TwinlockError
from twinlock.seams import Clock
from twinlock.server.config import AssetSection, Config, MarketSection, load_config
from twinlock.server.db.migrate import newest_step, present_step
from twinlock.server.keyfile import KEY_FILE, open_signing_key
from twinlock.server.process import running
from twinlock.server.setup.wizard import TLS_FOLDER
from twinlock.server.wallet import DexWallet

DISK_LEAST = 2 * 2**30
"""Bytes that must be free where the data is."""
CERTIFICATE_LEAST = timedelta(days=30)
CLOCK_AHEAD_S = 2 * 3_600
"""No block may be dated further than this ahead of us: a rule that every node holds."""
SERVER_PATIENCE_S = 10.0
_STALE_BLOCKS = 36
_AGREE_DEPTH = 6


class Finding(msgspec.Struct, frozen=True):
    """One check. fix: what to do when it is not ok."""

    check: str
    ok: bool
    detail: str
    fix: str = ""


class Sight(msgspec.Struct, frozen=True):
    """What one indexer shows. header: of the block `_AGREE_DEPTH` below the lowest tip is asked for afterwards."""

    server: str
    height: int
    tip_time: int


Check = Callable[[], "Awaitable[list[Finding]]"]


async def examine(path: Path, clock: Clock, dial: Dial | None = None) -> list[Finding]:
    """All findings, in a sensible order of repair."""
    try:
        config = load_config(path)
    except TwinlockError as error:
        return [Finding("configuration", False, str(error), error.fix)]
    findings = [Finding("configuration", True, f"{path}: {', '.join(market.name for market in config.markets)}")]
    findings += _machine(config)
    findings += [_key(config), *_certificate(config, clock), *_passwords(config), *_amounts(config)]
    findings.append(await _database(config))
    for section in config.assets:
        findings += await _chain(coin(section.symbol, config.server.network), section, clock, dial or Dialer())
    return findings


def _machine(config: Config) -> Iterator[Finding]:
    folder = config.server.data_dir
    yield _data_folder(folder)
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    fix = f"make room below {there}: {DISK_LEAST // 2**30} GiB or more"
    yield Finding("disk space", free >= DISK_LEAST, f"{free / 2**30:.1f} GiB free", fix)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)  # `run` takes all that it may
    wanted = config.server.open_files
    fix = f"raise the limit (ulimit -n {wanted}, LimitNOFILE in the unit), or lower server.max_clients"
    yield Finding(
        "open files", files >= wanted, f"{files} allowed, {wanted} for {config.server.max_clients} clients", fix
    )
    state = running(folder)
    for name, address in config.server.addresses().items():
        yield (
            Finding(f"port of {name}", True, f"held by the exchange itself, process {state.pid}")
            if state
            else _port(name, *address)
        )


def _data_folder(folder: Path) -> Finding:
    if not folder.exists():
        return Finding("data folder", False, f"{folder} is missing", "run `twinlock server init`, or make it")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(
            "data folder", False, f"{folder} cannot be written", f"give this user the folder: chown {folder}"
        )
    mode = folder.stat().st_mode & 0o077
    return Finding("data folder", not mode, str(folder), f"others may look into it: chmod 700 {folder}")


def _port(name: str, host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            fix = f"stop what listens there (ss -ltnp), or choose another address in server.{name}"
            return Finding(f"port of {name}", False, f"{host}:{port}: {error.strerror}", fix)
    return Finding(f"port of {name}", True, f"{host}:{port} is free")


def _key(config: Config) -> Finding:
    path = config.server.data_dir / KEY_FILE
    if not path.exists():
        fix = "run `twinlock server init`, or restore a backup: accounts belong to this key"
        return Finding("signing key", False, f"{path} is missing", fix)
    try:
        key = open_signing_key(path, config.server.key_password())
    except (TwinlockError, OSError) as error:
        return Finding("signing key", False, str(error), getattr(error, "fix", "") or "name a readable password_file")
    if path.stat().st_mode & 0o077:
        return Finding("signing key", False, f"{path} is open to others", f"chmod 600 {path}")
    return Finding("signing key", True, f"public key {key.public.hex()}")


def _passwords(config: Config) -> Iterator[Finding]:
    for name in ("password_file", "admin_password_file"):
        path: Path | None = getattr(config.server, name)
        if path is None:
            continue
        if not path.exists() or not os.access(path, os.R_OK):
            yield Finding(name, False, f"{path} cannot be read", f"write the password to {path} and chmod 600 it")
        else:
            yield Finding(name, not path.stat().st_mode & 0o077, str(path), f"others may read it: chmod 600 {path}")
    if config.server.password_file is None:
        yield Finding("password_file", False, "the signing key has no password", "set server.password_file")


def _certificate(config: Config, clock: Clock) -> Iterator[Finding]:
    if not config.server.tls:
        return
    path = config.server.data_dir / TLS_FOLDER / "server.cert"
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        names = _names(found)
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        fix = f"remove {path} and its key; a new pair is made at the start, and clients must be told of it"
        yield Finding("certificate", False, f"{path}: {error}", fix)
        return
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    fix = "move both files of the tls folder away; a new pair is made at the start, and clients must be told of it"
    yield Finding(
        "certificate dates", begin <= now <= end - CERTIFICATE_LEAST, f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}", fix
    )
    missing = sorted({"localhost", "127.0.0.1", *config.server.names} - names)
    detail = f"not valid for {', '.join(missing)}" if missing else ", ".join(sorted(names))
    yield Finding("certificate names", not missing, detail, fix)
    key = path.with_suffix(".key")
    private = key.exists() and not key.stat().st_mode & 0o077
    yield Finding("certificate key", private, str(key), f"it must be there for its owner alone: chmod 600 {key}")


def _names(certificate: x509.Certificate) -> set[str]:
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        *alternatives.get_values_for_type(x509.DNSName),
        *map(str, alternatives.get_values_for_type(x509.IPAddress)),
    }


def _amounts(config: Config) -> Iterator[Finding]:
    """Lots and bonds worth their fees, and wallets that are public keys."""
    for market in config.markets:
        yield _lot(config, market)
    for section in config.assets:
        row = coin(section.symbol, config.server.network)
        least = family_of(row).min_bond(section.max_fee_rate)
        if section.bond_amount:
            name = f"bond of {section.symbol}"
            ok = section.bond_amount >= least
            yield Finding(
                name, ok, f"{section.bond_amount} atoms, {least} at least", f"set bond_amount to {least} or more"
            )
        if section.bond_xpub:
            try:
                first = DexWallet(row, section.bond_xpub).address(0)
            except TwinlockError as error:
                yield Finding(f"wallet of {section.symbol}", False, str(error), error.fix)
            else:
                yield Finding(
                    f"wallet of {section.symbol}", True, f"first address {first}: compare it with your wallet"
                )


def _lot(config: Config, market: MarketSection) -> Finding:
    row = coin(market.base, config.server.network)
    least = family_of(row).min_lot(config.asset(market.base).max_fee_rate)
    fix = f"set lot_size to {least} or more, or lower max_fee_rate of {market.base}"
    return Finding(f"lot of {market.name}", market.lot_size >= least, f"{market.lot_size} atoms, {least} at least", fix)


def _absent(url: str) -> bool:
    return url.startswith("sqlite") and not Path(url.partition("///")[2]).exists()


async def _database(config: Config) -> Finding:
    url, wanted = config.server.database_url, newest_step()
    if _absent(url):
        return Finding("database", True, "none yet: it is made at the first start")
    engine = create_async_engine(url)
    try:
        async with asyncio.timeout(SERVER_PATIENCE_S), engine.connect() as connection:
            step = await connection.run_sync(present_step)
    except (sa.exc.SQLAlchemyError, OSError, TimeoutError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Finding("database", False, reason, "start the database, or correct server.db_url")
    finally:
        await engine.dispose()
    if step is not None and step > wanted:
        fix = "run the version of Twinlock that wrote it, or a newer one"
        return Finding("database", False, f"schema {step} is newer than this program's {wanted}", fix)
    state = "up to date" if step == wanted else f"schema {step or 'none'}: brought to {wanted} at the next start"
    return Finding("database", True, state)


async def _chain(row: Coin, section: AssetSection, clock: Clock, dial: Dial) -> list[Finding]:
    """Each indexer for itself, then all of them together."""
    findings: list[Finding] = []
    async with _Talks(row, clock, dial) as talks:
        findings += [await talks.look(server) for server in section.electrum]
        findings += await talks.together()
    return findings


class _Talks:
    """Conversations with the indexers of one coin."""

    def __init__(self, row: Coin, clock: Clock, dial: Dial) -> None:
        self._coin = row
        self._clock = clock
        self._dial = dial
        self._open: list[tuple[Connection, Sight]] = []

    async def __aenter__(self) -> _Talks:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection, _sight in self._open:
            await connection.close()

    async def look(self, server: str) -> Finding:
        """Reachable, on the right chain, and not behind."""
        name = f"{self._coin.symbol} indexer {server}"
        try:
            async with asyncio.timeout(SERVER_PATIENCE_S):
                transport = await self._dial(Endpoint.parse(server))
                connection = await Connection.open(
                    transport, self._clock, genesis_hash=self._coin.genesis_hash, on_note=lambda _: None
                )
                reply = await connection.call(methods.HEADERS_SUBSCRIBE)
        except LyingServerError as error:
            return Finding(name, False, str(error), f"point it at {self._coin.network} of {self._coin.name}")
        except (ElectrumError, OSError, TimeoutError) as error:
            detail = str(error) or f"no answer in {SERVER_PATIENCE_S:.0f} s"
            return Finding(name, False, detail, "start the indexer, or correct the address")
        header = Header.parse(bytes.fromhex(reply.hex)[:HEADER_SIZE])
        self._open.append((connection, Sight(server, reply.height, header.time)))
        return self._age(name, reply.height, header.time, connection.software)

    def _age(self, name: str, height: int, stamp: int, software: str) -> Finding:
        age = self._clock.now_ms() // 1000 - stamp
        longest = _STALE_BLOCKS * self._coin.block_seconds
        synced = self._coin.network is Network.REGTEST or age <= longest
        detail = f"height {height}, its block {max(0, age) // 60} min old, {software}"
        return Finding(name, synced, detail, "wait until its node and it are synced")

    async def together(self) -> list[Finding]:
        """The same blocks everywhere; our clock beside theirs; an estimate of fees."""
        if not self._open:
            return []
        return [await self._agreement(), self._clock_check(), await self._fees()]

    async def _agreement(self) -> Finding:
        heights = [sight.height for _, sight in self._open]
        depth = max(0, min(heights) - _AGREE_DEPTH)
        blocks: dict[str, list[str]] = {}
        for connection, sight in self._open:
            with suppress(ElectrumError):
                raw = bytes.fromhex(await connection.call(methods.BLOCK_HEADER, depth))
                blocks.setdefault(Header.parse(raw[:HEADER_SIZE]).hash_hex, []).append(sight.server)
        name = f"{self._coin.symbol} indexers agree"
        if len(blocks) > 1:
            told = "; ".join(f"{', '.join(servers)}: {block[:16]}" for block, servers in blocks.items())
            return Finding(name, False, f"block {depth} differs: {told}", "find out who follows a fork, and drop it")
        spread = max(heights) - min(heights)
        detail = f"{len(self._open)} at block {depth}, tips {spread} apart"
        return Finding(name, bool(blocks) and spread <= _AGREE_DEPTH, detail, "wait for those that are behind")

    def _clock_check(self) -> Finding:
        ahead = max(sight.tip_time for _, sight in self._open) - self._clock.now_ms() // 1000
        name = f"clock beside {self._coin.symbol}"
        fix = "set this machine's clock (timedatectl set-ntp true): orders more than 20 s off are refused"
        return Finding(name, ahead <= CLOCK_AHEAD_S, f"newest block {-ahead} s ago", fix)

    async def _fees(self) -> Finding:
        name = f"{self._coin.symbol} fee estimate"
        for connection, _ in self._open:
            with suppress(ElectrumError):
                rate = await connection.call(methods.ESTIMATE_FEE, 2)
                if rate > 0:
                    return Finding(name, True, f"{rate} {self._coin.unit} per 1,000 vbytes")
        return Finding(name, True, "none yet: a fixed rate is used until the node has one")
