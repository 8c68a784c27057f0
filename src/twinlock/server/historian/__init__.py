"""The historian: what happened, for charts, tickers and audits.

Each processed epoch becomes one row, and part of a candle in every bin size; both are written in the epoch's own
transaction. The newest thousand candles of each bin stay in memory for the data API.
"""

from twinlock.server.historian.historian import Historian

__all__ = ["Historian"]
