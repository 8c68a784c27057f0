"""How fast the exchange server is: `make bench-server`.

The server runs in a process of its own (`host`) on two chains in memory, whose every answer takes as long as a
question to an indexer nearby; load comes from other processes (`load`) that sign everything beforehand and hardly look
at what they read. `engine` measures matching and commits in one process. Results go to `benchmarks/results/`.
"""
