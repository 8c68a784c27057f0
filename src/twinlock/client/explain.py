"""Asking the server why our account stands as it does, and checking that it says so under its signature."""

from __future__ import annotations

from twinlock.client.desk import Desk
from twinlock.client.errors import ClientError, MisbehaviourError
from twinlock.protocol.codes import ErrorCode, RpcError
from twinlock.protocol.messages.explain import ExplainRequest, Explanation
from twinlock.protocol.routes import EXPLAIN


class NotExplainedError(ClientError):
    """The server has no such route; those of the reference do not."""

    code = "account.not_explained"
    fault = "server"


async def explain(desk: Desk) -> Explanation:
    """Every point of the score, each signed. Raises NotExplainedError, MisbehaviourError, and those of `request`."""
    try:
        told = await desk.session.request(EXPLAIN, ExplainRequest())
    except RpcError as error:
        if error.rpc_code is ErrorCode.UNKNOWN_ROUTE:
            raise NotExplainedError(f"{desk.host} does not explain scores", fix="ask its operator") from error
        raise
    account = desk.account
    for record in told.outcomes:
        desk.require_server_signature("an outcome", record.signed_bytes(), record.sig)
        if account is None or record.account_id != account.account_id:
            raise MisbehaviourError(f"{desk.host} explains another account than ours")
    if not told.adds_up():
        raise MisbehaviourError(f"{desk.host} states a score that its outcomes do not make up")
    return told
