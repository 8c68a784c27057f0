"""What the owner of a wallet can ask of the control interface, beside trading."""

from __future__ import annotations

from twinlock.chain.psbt import Psbt
from twinlock.client.control.operations import Ask
from twinlock.client.control.views import (
    AddressView,
    CoinView,
    DescriptorView,
    LabelsView,
    PsbtView,
    SentView,
)
from twinlock.client.desk import CoinSide
from twinlock.client.wallet import LightWallet, Payment, SignedTx


async def coins(ask: Ask) -> list[CoinView]:
    family = _side(ask).family
    _wallet(ask).require_scanned()
    return [
        CoinView(family.coin_id_text(c.coin_id), c.value, c.address, c.height, c.state, c.locked_for)
        for c in _wallet(ask).coins()
    ]


async def history(ask: Ask) -> list[Payment]:
    _wallet(ask).require_scanned()
    return list(_wallet(ask).history())


async def address(ask: Ask) -> AddressView:
    wallet = _wallet(ask)
    ways = {"taproot": wallet.new_taproot_address, "deposit": wallet.deposit_address, "receive": wallet.new_address}
    return AddressView(await ways[ask.body.kind]())


async def descriptor(ask: Ask) -> DescriptorView:
    return DescriptorView(_wallet(ask).descriptor())


async def labels(ask: Ask) -> LabelsView:
    return LabelsView(_wallet(ask).export_labels())


async def label(ask: Ask) -> LabelsView:
    if ask.body.labels:
        _wallet(ask).import_labels(ask.body.labels)
    else:
        _wallet(ask).label(ask.body.ref, ask.body.label, ask.body.subject)
    return await labels(ask)


async def freeze(ask: Ask) -> list[CoinView]:
    change = _wallet(ask).freeze if ask.body.frozen else _wallet(ask).thaw
    change(_coin_ids(ask, ask.body.coins))
    return await coins(ask)


async def rescan(ask: Ask) -> list[CoinView]:
    await _wallet(ask).rescan(ask.body.gap_limit, ask.body.since)
    return await coins(ask)


async def send(ask: Ask) -> SentView:
    body, wallet = ask.body, _wallet(ask)
    rate, chosen = await _fee_rate(ask), _coin_ids(ask, body.coins)
    return await _sent(ask, await wallet.send(body.address, body.amount, rate, label=body.label, coins=chosen))


async def sweep(ask: Ask) -> SentView:
    body, wallet = ask.body, _wallet(ask)
    rate = await _fee_rate(ask)
    if body.key:
        return await _sent(ask, await wallet.sweep_key(body.key, rate, label=body.label))
    chosen = _coin_ids(ask, body.coins)
    return await _sent(ask, await wallet.sweep(body.address, rate, label=body.label, coins=chosen))


async def bump(ask: Ask) -> SentView:
    return await _sent(ask, await _wallet(ask).bump(ask.body.txid, ask.body.fee_rate, ask.body.budget))


async def pull(ask: Ask) -> SentView:
    return await _sent(ask, await _wallet(ask).pull(ask.body.txid, ask.body.fee_rate, ask.body.budget))


async def make_psbt(ask: Ask) -> PsbtView:
    body, wallet = ask.body, _wallet(ask)
    rate, chosen = await _fee_rate(ask), _coin_ids(ask, body.coins)
    if body.address:
        return PsbtView((await wallet.make_psbt([(body.address, body.amount)], rate, coins=chosen)).text)
    return PsbtView((await wallet.make_deposit(body.amount, rate, coins=chosen)).text)


async def sign_psbt(ask: Ask) -> PsbtView:
    return PsbtView((await _wallet(ask).sign_psbt(Psbt.parse(ask.body.psbt))).text)


async def send_psbt(ask: Ask) -> SentView:
    return await _sent(ask, await _wallet(ask).take_psbt(Psbt.parse(ask.body.psbt), label=ask.body.label))


# ---------------------------------------------------------------------------------------------------------


def _wallet(ask: Ask) -> LightWallet:
    return ask.trader.wallet(ask.path["symbol"])


def _side(ask: Ask) -> CoinSide:
    _wallet(ask)  # which says what is missing
    return ask.trader.coins[ask.path["symbol"]]


def _coin_ids(ask: Ask, texts: list[str]) -> list[bytes]:
    family = _side(ask).family
    return [family.coin_id(txid, int(index)) for txid, _, index in (text.rpartition(":") for text in texts)]


async def _fee_rate(ask: Ask) -> int:
    rate: int = ask.body.fee_rate
    return rate or await _side(ask).chain.fee_rate()


async def _sent(ask: Ask, signed: SignedTx) -> SentView:
    txid = await _wallet(ask).broadcast(signed.raw)
    await _wallet(ask).shown(txid)
    return SentView(txid, signed.fee)
