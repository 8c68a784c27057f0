"""Doctor: looks at everything that an indexer needs, and says for each thing that is not well what to do about it."""

from __future__ import annotations

import datetime
import os
import resource
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509

from twinlock.chain.coins import Coin
from twinlock.indexer.banner import version_text
from twinlock.indexer.daemon import Daemon, DaemonError, DaemonGoneError
from twinlock.indexer.doors import DoorError, try_door
from twinlock.indexer.env import Env, reorg_limit_of
from twinlock.indexer.lock import DirectoryLock, InUseError
from twinlock.indexer.progress import forecast, size_text
from twinlock.indexer.storage.disk import RealDisk
from twinlock.indexer.storage.manifest import StorageError, read_manifest
from twinlock.kernels.index import compiled
from twinlock.seams import Clock

LEAST_VERSIONS: Mapping[str, int] = {"btc": 220_000, "ltc": 210_200, "doge": 1_140_300}
"""The oldest nodes whose answers are understood."""

_FILES_BESIDES = 200
_CLOCK_SECONDS = 2 * 3600
_CERTIFICATE_DAYS = 14


class Finding(NamedTuple):
    """One check: what was looked at, whether it is well, what was seen, and what to do where it is not."""

    name: str
    well: bool
    seen: str
    fix: str = ""


async def examine(env: Env, coin: Coin, daemon: Daemon, clock: Clock) -> list[Finding]:
    """All checks. What needs the node is left out where the node is not there."""
    findings = [
        _kernels(),
        _descriptors(env),
        *_ports(env, _running(env)),
        *_certificate(env, clock),
        *_index(env, coin),
    ]
    try:
        chain = await daemon.call("getblockchaininfo")
        network = await daemon.call("getnetworkinfo")
        genesis = await daemon.call("getblockhash", 0)
        tip = await daemon.call("getblockheader", await daemon.call("getbestblockhash"))
    except (DaemonGoneError, DaemonError) as error:
        return [_node_gone(daemon, error), *findings]
    stats: dict[str, Any] = {}
    with suppress(DaemonError, DaemonGoneError):
        stats = await daemon.call("getchaintxstats")
    return [
        Finding("node", True, f"answers at {daemon.node}"),
        _chain(coin, genesis),
        _version(coin, network),
        _synced(chain),
        _pruning(chain),
        await _block_files(env, daemon),
        _clock_agrees(tip, clock),
        _disk(env, coin, chain, stats),
        *findings,
    ]


def _node_gone(daemon: Daemon, error: DaemonError | DaemonGoneError) -> Finding:
    cookie = daemon.node.cookie
    hint = error.fix or "wait until the node has started"
    if cookie and not daemon.node.user and not cookie.exists():
        hint = f"start the node; there is no cookie at {cookie}. If it lives elsewhere, give --node-dir or --daemon-url"
    elif cookie and not daemon.node.user and not os.access(cookie, os.R_OK):
        hint = f"let this user read {cookie}, or give --daemon-url with a user and password"
    return Finding("node", False, f"{daemon.node}: {error}", hint)


def _chain(coin: Coin, genesis: str) -> Finding:
    well = genesis == coin.genesis_hash
    fix = "" if well else "check the daemon URL, the coin and the network"
    return Finding("chain", well, f"{coin.name} {coin.network}" if well else f"it begins with {genesis}", fix)


def _version(coin: Coin, network: Mapping[str, Any]) -> Finding:
    number, least = int(network["version"]), LEAST_VERSIONS.get(coin.symbol, 0)
    seen = f"{version_text(number)} {network.get('subversion', '')}"
    return Finding("node version", number >= least, seen, f"update the node to {version_text(least)} or newer")


def _synced(chain: Mapping[str, Any]) -> Finding:
    behind = int(chain["headers"]) - int(chain["blocks"])
    seen = f"block {chain['blocks']:,}" + (f", {behind:,} to go" if behind else "")
    return Finding("node synced", behind <= 1, seen, "let the node finish first, or be patient: both can sync at once")


def _pruning(chain: Mapping[str, Any]) -> Finding:
    pruned = bool(chain.get("pruned"))
    fix = "an index needs every block once: set prune=0 in the node's settings and let it fetch the chain again"
    return Finding(
        "pruning", not pruned, f"blocks before {chain.get('pruneheight')} are gone" if pruned else "off", fix
    )


async def _block_files(env: Env, daemon: Daemon) -> Finding:
    """They are not needed, only quicker; so a node elsewhere is well."""
    if not env.use_block_files or not daemon.local:
        return Finding("block files", True, "not used; the node is asked for blocks")
    folder = env.blocks_dir
    if folder is None:
        with suppress(DaemonError, DaemonGoneError, KeyError, TypeError):
            folder = Path((await daemon.call("getrpcinfo"))["logpath"]).parent / "blocks"
    if folder is None:
        return Finding("block files", True, "the node does not say where they are; it is asked for blocks")
    file = folder / "blk00000.dat"
    fix = f"let this user read {folder}, or set use_block_files = false and be a little slower"
    return Finding("block files", os.access(file, os.R_OK), str(folder), fix)


def _clock_agrees(tip: Mapping[str, Any], clock: Clock) -> Finding:
    ahead = int(tip.get("time", 0)) - clock.now_ms() // 1000
    seen = f"the newest block is {-ahead:,} s old" if ahead <= 0 else f"the newest block is {ahead:,} s in the future"
    return Finding("clock", ahead < _CLOCK_SECONDS, seen, "set this machine's clock; run an NTP service")


def _disk(env: Env, coin: Coin, chain: Mapping[str, Any], stats: Mapping[str, Any]) -> Finding:
    folder = env.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    cost = forecast(chain, stats, env.memory, reorg_limit_of(env, coin))
    present = sum(file.stat().st_size for file in env.data_dir.rglob("*") if file.is_file())
    needed = max(0, (cost.disk_at_most if not present else cost.disk) - present)
    seen = f"{size_text(free)} free, the index needs {size_text(needed)} more"
    return Finding("disk space", free > needed, seen, "free some space, or name another data directory")


def _kernels() -> Finding:
    return Finding(
        "kernels", compiled(), "compiled" if compiled() else "plain Python", "install a C compiler, then install again"
    )


def _descriptors(env: Env) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = env.max_sessions + _FILES_BESIDES
    well = hard == resource.RLIM_INFINITY or hard >= needed
    fix = f"allow {needed:,}: LimitNOFILE={needed} in the systemd unit, or ulimit -n; or lower max_sessions"
    return Finding("file descriptors", well, f"{hard:,} may be open, {needed:,} are wanted", fix)


def _running(env: Env) -> bool:
    """Whether an indexer is at work in the data directory now."""
    if not (env.data_dir / "lock").exists():
        return False
    try:
        DirectoryLock(env.data_dir).release()
    except InUseError:
        return True
    return False


def _ports(env: Env, running: bool) -> list[Finding]:
    """running: those in use are our own server's, then."""
    findings = [Finding("server", True, "is running")] if running else []
    for service in env.services if not running else ():
        name = f"port {service.port}"
        try:
            try_door(service)
            findings.append(Finding(name, True, f"free for {service}"))
        except DoorError as error:
            findings.append(Finding(name, False, str(error), error.fix))
    if not env.wallet_services:
        findings.append(Finding("ports", False, "none for wallets", "give --listen tcp://127.0.0.1:50001"))
    return findings


def _certificate(env: Env, clock: Clock) -> list[Finding]:
    if not any(service.protocol in ("ssl", "wss") for service in env.services):
        return []
    file = env.ssl_certificate or env.data_dir / "certificate.pem"
    if env.ssl_certificate is None and not file.exists():
        return [Finding("certificate", True, "one is made at the first start")]
    try:
        expires = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
        (env.ssl_key or env.data_dir / "certificate.key").open("rb").close()
    except (OSError, ValueError) as error:
        return [Finding("certificate", False, f"{file}: {error}", "check ssl_certificate and ssl_key")]
    left = (expires - datetime.datetime.fromtimestamp(clock.now_ms() / 1000, datetime.UTC)).days
    fix = "renew it; a running server takes the new one without a restart"
    return [Finding("certificate", left >= _CERTIFICATE_DAYS, f"valid for {left:,} days", fix)]


def _index(env: Env, coin: Coin) -> list[Finding]:
    if not env.data_dir.exists():
        return [Finding("index", True, "none yet; it is built at the first start")]
    try:
        manifest = read_manifest(RealDisk(env.data_dir))
    except StorageError as error:
        return [Finding("index", False, str(error), error.fix)]
    if manifest and manifest.chain != coin.genesis_hash:
        return [Finding("index", False, "it is of another chain", "give each chain a data directory of its own")]
    return [Finding("index", True, f"{len(manifest.runs)} runs" if manifest else "none yet")]
