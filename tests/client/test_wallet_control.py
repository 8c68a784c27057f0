"""The owner's routes of the control interface, on a trader over simulated chains."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.client.world import FUNDS, World, world

from twinlock.client.control import requests, views
from twinlock.client.control.remote import Remote, RemoteError, embedded
from twinlock.client.trader import Trader
from twinlock.client.wallet.types import Payment

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[World]:
    async with world() as it:
        yield it


async def start(it: World) -> Trader:
    (alice,) = await it.funded("alice")
    control = msgspec.structs.replace(alice.config.control, allow_withdraw=True)
    alice.config = msgspec.structs.replace(alice.config, control=control)
    return alice


async def post(it: World, remote: Remote, path: str, body: object) -> views.SentView:
    sent = await it.call(remote.post(path, views.SentView, body))
    assert isinstance(sent, views.SentView)
    return sent


async def test_an_owner_pays_raises_the_fee_and_reads_the_history(it: World) -> None:
    alice = await start(it)
    async with embedded(alice) as remote:
        listed = await remote.get("/wallets/btc/coins", list[views.CoinView])
        chosen = next(each for each in listed if each.state == "available")
        address = (await remote.post("/wallets/ltc/address", dict[str, str]))["address"]
        with pytest.raises(RemoteError):
            await remote.post("/wallets/btc/send", views.SentView, requests.PayRequest(address, 100))
        own = (await remote.post("/wallets/btc/address", dict[str, str], requests.AddressRequest("taproot")))["address"]
        assert own.startswith("bcrt1p")
        pay = requests.PayRequest(own, 50_000, 2, [chosen.coin], "to myself")
        sent = await post(it, remote, "/wallets/btc/send", pay)
        raised = await post(it, remote, "/wallets/btc/bump", requests.RaiseRequest(sent.txid, 8, 5_000))
        pulled = await post(it, remote, "/wallets/btc/pull", requests.RaiseRequest(raised.txid, 20, 20_000))
        await it.mine()
        await it.clock.advance(2)
        history = await remote.get("/wallets/btc/history", list[Payment])
        assert {raised.txid, pulled.txid} <= {line.txid for line in history}
        assert sent.txid not in {line.txid for line in history}
        assert {line.label for line in history if line.txid == raised.txid} == {"to myself"}


async def test_psbts_and_labels_pass_through(it: World) -> None:
    alice = await start(it)
    async with embedded(alice) as remote:
        made = await remote.post("/wallets/ltc/psbt", dict[str, str], requests.DraftRequest(70_000, fee_rate=2))
        body = requests.PsbtRequest(made["psbt"])
        signed = await remote.post("/wallets/ltc/psbt/sign", dict[str, str], body)
        sent = await post(it, remote, "/wallets/ltc/psbt/send", requests.PsbtRequest(signed["psbt"], "round"))
        await it.mine()
        await it.until(lambda: alice.wallet("ltc").balance().available == FUNDS - sent.fee)
        labels = (await remote.get("/wallets/ltc/labels", dict[str, str]))["labels"]
        assert '"label":"round"' in labels
        coin = (await remote.get("/wallets/ltc/coins", list[views.CoinView]))[0]
        await remote.post("/wallets/ltc/freeze", list[views.CoinView], requests.FreezeRequest([coin.coin]))
        assert alice.wallet("ltc").balance().locked == coin.value
        descriptor = await remote.get("/wallets/ltc/descriptor", dict[str, str])
        assert descriptor["descriptor"].startswith("wpkh([")


async def test_nothing_leaves_while_withdrawing_is_off(it: World) -> None:
    (alice,) = await it.funded("alice")
    async with embedded(alice) as remote:
        for body, name in (
            (requests.PayRequest("x", 1), "send"),
            (requests.SweepRequest("x"), "sweep"),
            (requests.RaiseRequest("ab", 1, 1), "bump"),
            (requests.RaiseRequest("ab", 1, 1), "pull"),
            (requests.PsbtRequest("x"), "psbt/sign"),
            (requests.PsbtRequest("x"), "psbt/send"),
        ):
            with pytest.raises(RemoteError) as refused:
                await remote.post(f"/wallets/btc/{name}", views.SentView, body)
            assert refused.value.code == "control.forbidden"
