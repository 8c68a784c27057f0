"""What is asked of a server about a bond: would it take this one, and does it count it now?"""

from __future__ import annotations

from twinlock.client.desk import Desk
from twinlock.client.errors import MisbehaviourError
from twinlock.client.wallet import BondDraft
from twinlock.protocol import signing
from twinlock.protocol.messages.account import PostBond, PostBondResult, PreValidateBond
from twinlock.protocol.messages.config import BondAsset
from twinlock.protocol.routes import POSTBOND, PREVALIDATEBOND
from twinlock.protocol.wire import Hex


def account_id(desk: Desk) -> bytes:
    """Ours at this server. Raises NotConnectedError before discovery."""
    desk.signing_key()
    assert desk.account is not None
    return desk.account.account_id


async def prevalidate(desk: Desk, draft: BondDraft, offer: BondAsset) -> None:
    """Return if the server would take the bond. Raises RpcError, MisbehaviourError."""
    question = PreValidateBond(
        account_key=Hex(desk.signing_key().public),
        asset_id=offer.id,
        version=offer.version,
        tx=Hex(draft.unsigned),
    )
    answer = await desk.session.request(PREVALIDATEBOND, signing.signed(desk.signing_key(), question))
    desk.require_server_signature("the bond's validation", answer.signed_bytes(draft.unsigned), answer.sig)
    if answer.account_id != account_id(desk) or answer.asset_id != offer.id:
        raise MisbehaviourError("the server validated another bond than ours")


async def claim(desk: Desk, asset_id: int, version: int, coin_id: bytes) -> PostBondResult:
    """Ask the server to count a bond, or a prepaid code; its receipt. Raises RpcError, MisbehaviourError."""
    request = PostBond(
        account_key=Hex(desk.signing_key().public), asset_id=asset_id, version=version, coin_id=Hex(coin_id)
    )
    answer = await desk.session.request(POSTBOND, signing.signed(desk.signing_key(), request))
    desk.require_server_signature("the bond's receipt", answer.signed_bytes(), answer.sig)
    if answer.bond_id != coin_id or answer.account_id != account_id(desk):
        raise MisbehaviourError("the server's receipt is for another bond")
    return answer
