"""Matching: the sides of a book, and an epoch's queue worked off against them (protocol sections 6.6 and 6.7).

An order is any value with the attributes of `twinlock.protocol.orders`: ``id``, ``order_type``, and for a cancel
``target_id``, else ``side``, ``server_time``, ``quantity``, ``filled``, ``matches``, ``options.max_matches`` and, of a
limit order, ``rate``, ``time_in_force`` and ``options.post_only``. IDs are bytes; numbers are 0 to 2^63 - 1, which the
compiled half checks (OverflowError). Sides and types have the numbers of the protocol.
"""

from __future__ import annotations

from twinlock.kernels.matching_plain import BookSidePlain, work_off_plain

__all__ = ["BookSide", "BookSidePlain", "work_off", "work_off_plain"]

try:
    from twinlock.kernels._matching import BookSide, work_off
except ImportError:
    BookSide = BookSidePlain  # type: ignore[misc,assignment] # the twin stands in
    work_off = work_off_plain  # type: ignore[assignment]
