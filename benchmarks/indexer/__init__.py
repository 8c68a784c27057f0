"""How fast the indexer is, beside ElectrumX, on a dense chain made here.

    python -m benchmarks.indexer                     # `make bench-indexer`: 100,000 and 1,000,000 transactions
    python -m benchmarks.indexer --txs 20000 --blocks 200 --no-peer --no-save

A node is given the chain; each server syncs from it and is asked the same. Compared is the server's CPU time a request:
rates also measure the client and the machine's other work. The answers of both have to be equal, and histories as long
as the generator counted. Results go to benchmarks/results/indexer.json and indexer.md, with machine and versions.
"""
