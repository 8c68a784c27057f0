# Everything here sets itself up first; a second run costs seconds.
.PHONY: setup setup-tests demo test lint docs clean \
  soak soak-kernels soak-client soak-e2e soak-indexer soak-server bench bench-wallet bench-indexer bench-server
BIN := .venv/bin

setup:
	@tools/setup

setup-tests:
	@tools/setup --tests

demo: setup
	@$(BIN)/twinlock demo

lint: setup-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Several runs of pytest side by side: the stories on real nodes wait for blocks more than they compute.
test: lint
	@tools/test

soak: soak-kernels soak-client soak-e2e soak-indexer soak-server

# The kernels with GCC's sanitizers, against damaged and hostile bytes; built outside the checkout.
soak-kernels: setup-tests
	@tools/sanitize

# A trader's power goes before and after every write and broadcast, also where one cut is as good as the other.
soak-client: setup-tests
	TWINLOCK_SOAK=1 $(BIN)/pytest tests/client/test_power_cuts.py --timeout=3600

# Longer variants of the stories on real nodes.
soak-e2e: setup-tests
	TWINLOCK_SOAK=1 $(BIN)/pytest tests/e2e -m soak

bench: bench-wallet bench-server bench-indexer

bench-wallet: setup
	$(BIN)/python -m benchmarks.wallet

# Some ten minutes; ElectrumX, the peer, is installed into an environment of its own. A part alone:
# python -m benchmarks.indexer --part sync --folder KEPT
bench-indexer: setup
	$(BIN)/python -m benchmarks.indexer

# Longer lives of the storage with a crash at every single operation and a full disk at every third, long stories on real
# nodes, and a siege of a server: under half an hour.
soak-indexer: setup-tests
	TWINLOCK_SOAK=1 $(BIN)/pytest tests/indexer/test_power_cuts.py tests/indexer/test_kills.py \
	  tests/indexer/test_reorg_fuzz.py \
	  tests/indexer/test_siege.py --timeout=3600

bench-server: setup-tests
	$(BIN)/python -m benchmarks.server

# Ten thousand steps of nonsense to a live server, in long lives; the default run takes fewer.
soak-server: setup-tests
	TWINLOCK_NONSENSE_STEPS=10000 TWINLOCK_NONSENSE_LIFE=250 $(BIN)/pytest tests/server/test_nonsense.py -s --timeout=3600

docs: setup-tests
	$(BIN)/pytest tests/docs

# The programs in the user's cache folder serve every checkout and stay.
clean:
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -f src/twinlock/kernels/*.so
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
