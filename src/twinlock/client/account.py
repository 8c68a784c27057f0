"""Logging in: the server's offer checked, its key pinned, and our account found from the seed alone."""

from __future__ import annotations

from twinlock.client.desk import Desk
from twinlock.client.errors import MisbehaviourError, VersionMismatchError
from twinlock.client.store import changing
from twinlock.client.store.records import AccountRecord
from twinlock.protocol import signing
from twinlock.protocol.account import account_id
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.constants import API_VERSION
from twinlock.protocol.messages.account import Connect, ConnectResult
from twinlock.protocol.messages.config import Config
from twinlock.protocol.routes import CONFIG, CONNECT
from twinlock.protocol.wire import Hex

DISCOVERY_PAUSE = 0.2
"""Seconds between two tries of discovery, so that a long row of old accounts is no burst."""

_UNKNOWN = (ErrorCode.ACCOUNT_NOT_FOUND, ErrorCode.UNPAID_ACCOUNT)


async def read_config(desk: Desk) -> Config:
    """Read the offer and check it. Raises VersionMismatchError, MisbehaviourError."""
    config = await desk.session.request(CONFIG, None)
    if config.api_version != API_VERSION:
        newer = config.api_version > API_VERSION
        raise VersionMismatchError(
            f"{desk.host} speaks version {config.api_version} of the protocol, we speak {API_VERSION}",
            numbers={"ours": API_VERSION, "theirs": config.api_version},
            fix="update Twinlock" if newer else "ask the operator to update the server",
        )
    known = {asset.id for asset in config.assets}
    for market in config.markets:
        if not {market.base, market.quote} <= known:
            raise MisbehaviourError(f"market {market.name} trades an asset that the server does not describe")
        if not (market.lot_size and market.rate_step and market.epoch_ms):
            raise MisbehaviourError(f"market {market.name} has no lot size, rate step or epoch length")
    if not config.broadcast_timeout_ms:
        raise MisbehaviourError("the server gives nobody time to act: its broadcast timeout is 0")
    record = desk.store.get(AccountRecord, desk.host)
    if record is not None and record.server_pubkey != config.public_key:
        raise MisbehaviourError(
            f"{desk.host} shows another key than before",
            code="session.key_changed",
            fix=f"if the operator confirms the change: twinlock client pin forget {desk.host}",
        )
    desk.config = config
    return config


async def log_in(desk: Desk) -> ConnectResult | None:
    """Connect to our account; None when the server has none of ours yet. Sets `desk.account` and `desk.key`.

    The first time, accounts of this seed are looked for one after another (protocol section 4.4).
    """
    desk.logged_in = False
    record = desk.store.get(AccountRecord, desk.host)
    if record is None:
        return await _discover(desk)
    _use(desk, record)
    result = await _connect(desk)
    if record.exists and result is None:
        desk.notice(f"{desk.host} no longer knows our account; its bonds are posted again", "warning")
    if record.exists != (result is not None):
        with changing(desk.store, record):
            record.exists = result is not None
    desk.logged_in = result is not None
    return result


async def _discover(desk: Desk) -> ConnectResult | None:
    server_key = bytes(desk.require_config().public_key)
    index = 0
    while True:
        identity = account_id(desk.keys.account_key(server_key, index).public)
        record = AccountRecord(host=desk.host, server_pubkey=server_key, key_index=index, account_id=identity)
        _use(desk, record)
        result = await _connect(desk)
        if result is None or result.reputation.bonded_tier > result.reputation.penalties:
            record.exists = result is not None
            desk.store.put(record)
            desk.logged_in = record.exists
            return result
        await desk.clock.sleep(DISCOVERY_PAUSE)
        index += 1


async def _connect(desk: Desk) -> ConnectResult | None:
    assert desk.account is not None
    login = Connect(account_id=Hex(desk.account.account_id), timestamp=desk.clock.now_ms())
    login = signing.signed(desk.signing_key(), login)
    try:
        result = await desk.session.request(CONNECT, login)
    except RpcError as error:
        if error.rpc_code in _UNKNOWN:
            return None
        raise
    desk.require_server_signature("the login", login.signed_bytes(), result.sig)
    return result


def _use(desk: Desk, record: AccountRecord) -> None:
    desk.account = record
    desk.key = desk.keys.account_key(record.server_pubkey, record.key_index)
