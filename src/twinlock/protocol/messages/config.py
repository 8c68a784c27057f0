"""What a server offers: the result of `config` (protocol section 3.2)."""

from __future__ import annotations

from msgspec import UNSET, UnsetType, field

from twinlock.protocol.wire import U16, U32, U64, Hex, Payload


class Denomination(Payload, kw_only=True, frozen=True):
    """A unit of an asset and how many atoms make one."""

    unit: str
    conversion_factor: U64 = field(name="conversionFactor")


class UnitInfo(Payload, kw_only=True, frozen=True):
    """How amounts of an asset are shown to people."""

    atomic_unit: str = field(name="atomicUnit")
    conventional: Denomination
    denominations: list[Denomination] = field(default_factory=list)
    fee_rate_denom: str = field(name="feeRateDenom", default="")


class Asset(Payload, kw_only=True, frozen=True):
    """An asset of the server. Fee rates are atoms per vbyte (gwei per gas on account chains)."""

    symbol: str
    id: U32
    version: U32
    max_fee_rate: U64 = field(name="maxfeerate")
    swap_conf: U16 = field(name="swapconf")
    unit_info: UnitInfo = field(name="unitinfo")


class BondAsset(Payload, kw_only=True, frozen=True):
    """An asset accepted for bonds; `amount` is atoms per tier."""

    version: U16
    id: U32
    confs: U32
    amount: U64


class MarketStatus(Payload, kw_only=True, frozen=True, omit_defaults=True):
    """When a market runs, in epoch indices. `final_epoch` is set while a suspension is scheduled or in effect."""

    start_epoch: U64 = field(name="startepoch")
    final_epoch: U64 = field(name="finalepoch", default=0)
    persist_book: bool | None = field(name="persistbook", default=None)

    def running(self, now_ms: int, epoch_ms: int) -> bool:
        """Whether a client regards the market as running."""
        start, final = self.start_epoch * epoch_ms, self.final_epoch * epoch_ms
        return self.start_epoch > 0 and now_ms >= start and (now_ms < final or final < start)


class Market(Payload, kw_only=True, frozen=True):
    """A market. Sizes in base atoms, the rate step as a message-rate."""

    name: str
    base: U32
    quote: U32
    epoch_ms: U64 = field(name="epochlen")
    lot_size: U64 = field(name="lotsize")
    rate_step: U64 = field(name="ratestep")
    buy_buffer: float = field(name="buybuffer")
    parcel_size: U32 = field(name="parcelSize")
    status: MarketStatus


class Config(Payload, kw_only=True, frozen=True):
    """The result of `config`. `broadcast_timeout_ms` is ms, `bond_expiry_s` seconds.

    order_options: which members of `OrderOptions` the server knows; ours, left out by servers of the reference.
    """

    api_version: U16 = field(name="apiver")
    public_key: Hex = field(name="pubkey")
    cancel_max: float = field(name="cancelmax")
    broadcast_timeout_ms: U64 = field(name="btimeout")
    assets: list[Asset]
    markets: list[Market]
    bin_sizes: list[str] = field(name="binSizes")
    bond_assets: dict[str, BondAsset] = field(name="bondAssets")
    bond_expiry_s: U64 = field(name="DEV_bondExpiry")
    penalty_threshold: U32 = field(name="penaltyThreshold")
    max_score: U32 = field(name="maxScore")
    order_options: list[str] | UnsetType = field(name="orderOptions", default=UNSET)
