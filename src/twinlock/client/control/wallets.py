"""What the owner of a wallet can ask of the control interface, beside trading: the table `ROUTES`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from twinlock.chain.psbt import Psbt
from twinlock.client.trader import Trader
from twinlock.client.wallet import LightWallet, Payment, SignedTx

View = msgspec.Struct
T = TypeVar("T")


class CoinView(View, frozen=True):
    """An unspent output. coin: txid:index."""

    coin: str
    value: int
    address: str
    height: int | None
    state: str
    locked_for: str


class SentView(View, frozen=True):
    """A transaction that went out."""

    txid: str
    fee: int


class AddressView(View, frozen=True):
    """A fresh address."""

    address: str


class DescriptorView(View, frozen=True):
    """An output descriptor with its checksum; no secret."""

    descriptor: str


class LabelsView(View, frozen=True):
    """One JSON object a line (BIP 329)."""

    labels: str


class PsbtView(View, frozen=True):
    """Base64 (BIP 174)."""

    psbt: str


class AddressRequest(View, frozen=True, forbid_unknown_fields=True):
    """kind: receive, taproot, or deposit (money that a cold wallet may trade with by itself)."""

    kind: str = "receive"


class PayRequest(View, frozen=True, forbid_unknown_fields=True):
    """fee_rate: atoms per vbyte, 0 for the chain's own estimate. coins: spend exactly these (txid:index)."""

    address: str = ""
    amount: int = 0
    fee_rate: int = 0
    coins: list[str] = msgspec.field(default_factory=list)
    label: str = ""
    key: str = ""
    """A private key from elsewhere (WIF), to be swept."""


class RaiseRequest(View, frozen=True, forbid_unknown_fields=True):
    """budget: the most atoms that it may cost."""

    txid: str
    fee_rate: int
    budget: int


class PsbtRequest(View, frozen=True, forbid_unknown_fields=True):
    """psbt: Base64."""

    psbt: str
    label: str = ""


class LabelRequest(View, frozen=True, forbid_unknown_fields=True):
    """subject: as in BIP 329. labels: a whole file to take over, in place of one label."""

    ref: str = ""
    label: str = ""
    subject: str = "tx"
    labels: str = ""


class FreezeRequest(View, frozen=True, forbid_unknown_fields=True):
    """coins: txid:index each."""

    coins: list[str]
    frozen: bool = True


class RescanRequest(View, frozen=True, forbid_unknown_fields=True):
    """gap_limit: addresses beyond the last used one."""

    gap_limit: int = 100


class Asked(NamedTuple):
    """A question about one wallet. body: JSON."""

    trader: Trader
    symbol: str
    body: bytes

    @property
    def wallet(self) -> LightWallet:
        return self.trader.wallet(self.symbol)

    def read(self, kind: type[T]) -> T:
        return msgspec.json.decode(self.body or b"{}", type=kind)

    def coin_ids(self, texts: list[str]) -> list[bytes]:
        family = self.trader.coins[self.symbol].family
        return [family.coin_id(txid, int(index)) for txid, _, index in (text.rpartition(":") for text in texts)]

    async def fee_rate(self, wanted: int) -> int:
        return wanted or await self.trader.coins[self.symbol].chain.fee_rate()

    async def sent(self, signed: SignedTx) -> SentView:
        return SentView(await self.wallet.broadcast(signed.raw), signed.fee)


async def coins(ask: Asked) -> list[CoinView]:
    wallet, family = ask.wallet, ask.trader.coins[ask.symbol].family
    return [
        CoinView(family.coin_id_text(c.coin_id), c.value, c.address, c.height, c.state, c.locked_for)
        for c in wallet.coins()
    ]


async def history(ask: Asked) -> list[Payment]:
    return list(ask.wallet.history())


async def address(ask: Asked) -> AddressView:
    wallet = ask.wallet
    ways = {"taproot": wallet.new_taproot_address, "deposit": wallet.deposit_address}
    return AddressView(await ways.get(ask.read(AddressRequest).kind, wallet.new_address)())


async def descriptor(ask: Asked) -> DescriptorView:
    return DescriptorView(ask.wallet.descriptor())


async def labels(ask: Asked) -> LabelsView:
    return LabelsView(ask.wallet.export_labels())


async def label(ask: Asked) -> LabelsView:
    body = ask.read(LabelRequest)
    if body.labels:
        ask.wallet.import_labels(body.labels)
    else:
        ask.wallet.label(body.ref, body.label, body.subject)
    return await labels(ask)


async def freeze(ask: Asked) -> list[CoinView]:
    body = ask.read(FreezeRequest)
    change = ask.wallet.freeze if body.frozen else ask.wallet.thaw
    change(ask.coin_ids(body.coins))
    return await coins(ask)


async def rescan(ask: Asked) -> list[CoinView]:
    await ask.wallet.rescan(ask.read(RescanRequest).gap_limit)
    return await coins(ask)


async def send(ask: Asked) -> SentView:
    body = ask.read(PayRequest)
    rate, chosen = await ask.fee_rate(body.fee_rate), ask.coin_ids(body.coins)
    return await ask.sent(await ask.wallet.send(body.address, body.amount, rate, label=body.label, coins=chosen))


async def sweep(ask: Asked) -> SentView:
    body = ask.read(PayRequest)
    rate = await ask.fee_rate(body.fee_rate)
    if body.key:
        return await ask.sent(await ask.wallet.sweep_key(body.key, rate, label=body.label))
    chosen = ask.coin_ids(body.coins)
    return await ask.sent(await ask.wallet.sweep(body.address, rate, label=body.label, coins=chosen))


async def bump(ask: Asked) -> SentView:
    body = ask.read(RaiseRequest)
    return await ask.sent(await ask.wallet.bump(body.txid, body.fee_rate, body.budget))


async def pull(ask: Asked) -> SentView:
    body = ask.read(RaiseRequest)
    return await ask.sent(await ask.wallet.pull(body.txid, body.fee_rate, body.budget))


async def make_psbt(ask: Asked) -> PsbtView:
    body = ask.read(PayRequest)
    rate, chosen = await ask.fee_rate(body.fee_rate), ask.coin_ids(body.coins)
    if body.address:
        return PsbtView((await ask.wallet.make_psbt([(body.address, body.amount)], rate, coins=chosen)).text)
    return PsbtView((await ask.wallet.make_deposit(body.amount, rate, coins=chosen)).text)


async def sign_psbt(ask: Asked) -> PsbtView:
    return PsbtView((await ask.wallet.sign_psbt(Psbt.parse(ask.read(PsbtRequest).psbt))).text)


async def send_psbt(ask: Asked) -> SentView:
    body = ask.read(PsbtRequest)
    return await ask.sent(await ask.wallet.take_psbt(Psbt.parse(body.psbt), label=body.label))


class OwnerRoute(NamedTuple):
    """withdraws: it can move coins out of the wallet, which the configuration must allow."""

    method: str
    path: str
    withdraws: bool
    answer: Callable[[Asked], Awaitable[Any]]


ROUTES = (
    OwnerRoute("GET", "/wallets/{symbol}/coins", False, coins),
    OwnerRoute("GET", "/wallets/{symbol}/history", False, history),
    OwnerRoute("GET", "/wallets/{symbol}/descriptor", False, descriptor),
    OwnerRoute("GET", "/wallets/{symbol}/labels", False, labels),
    OwnerRoute("POST", "/wallets/{symbol}/labels", False, label),
    OwnerRoute("POST", "/wallets/{symbol}/address", False, address),
    OwnerRoute("POST", "/wallets/{symbol}/freeze", False, freeze),
    OwnerRoute("POST", "/wallets/{symbol}/rescan", False, rescan),
    OwnerRoute("POST", "/wallets/{symbol}/send", True, send),
    OwnerRoute("POST", "/wallets/{symbol}/sweep", True, sweep),
    OwnerRoute("POST", "/wallets/{symbol}/bump", True, bump),
    OwnerRoute("POST", "/wallets/{symbol}/pull", True, pull),
    OwnerRoute("POST", "/wallets/{symbol}/psbt", False, make_psbt),
    OwnerRoute("POST", "/wallets/{symbol}/psbt/sign", True, sign_psbt),
    OwnerRoute("POST", "/wallets/{symbol}/psbt/send", True, send_psbt),
)
