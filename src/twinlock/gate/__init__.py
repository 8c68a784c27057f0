"""The gate: listening sockets, TLS handshakes, and room for those who have not shown yet that anybody is there.

The indexer and the exchange server take connections through it. Invariants: who comes is let in; who says nothing
takes a bounded room, and keeps nobody out.
"""
