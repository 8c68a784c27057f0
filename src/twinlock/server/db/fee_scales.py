"""Fee scales that the operator set while the server ran."""

from __future__ import annotations

import sqlalchemy as sa

from twinlock.server.db.backend import Database, Write
from twinlock.server.db.schema import fee_scales

_ONE = 1_000_000


def put_fee_scale(symbol: str, scale: float, configured: float) -> list[Write]:
    """Remember a scale. configured: what the configuration says now; if it ever says otherwise, it counts again."""
    row = {"symbol": symbol, "scale": round(scale * _ONE), "configured": round(configured * _ONE)}
    return [Write(fee_scales.delete().where(fee_scales.c.symbol == symbol)), Write(fee_scales.insert(), [row])]


async def load_fee_scale(database: Database, symbol: str, configured: float) -> float:
    """The scale to start with: what was remembered under the same configuration, else the configuration's."""
    query = sa.select(fee_scales.c.scale).where(
        fee_scales.c.symbol == symbol, fee_scales.c.configured == round(configured * _ONE)
    )
    found = await database.fetch_one(query, lambda row: int(row["scale"]))
    return configured if found is None else found / _ONE
