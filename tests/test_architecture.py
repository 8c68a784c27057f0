"""ARCHITECTURE.md tells the truth about the house."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([\w.]+)` \| `([\w./]+)` \|$", TEXT, re.MULTILINE)
COMPONENTS = {
    "Electrum server": "Env,IRC,ElectrumX,LocalRPC,Daemon,Block processor,Caches,Prefetcher,Storage",
    "DEX domains": "DEX server,DEX client,command line UI,simple web-based UI,wallet modifications",
    "DEX server": "client messaging and communication hub,dex manager,user manager,market managers,book managers,"
    "order matcher,swap executor,historian,DEX DB backend,asset backend,dex wallet,http API",
    "DEX communication": "WebSocket connections,TLS,Message,timestamps,message-rate encoding,coin ID,connect response",
}
"""What the seeds call their parts."""


@pytest.mark.parametrize(("seed", "component", "module", "test"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS])
def test_each_component_of_the_seeds_has_its_module_and_its_test(
    seed: str, component: str, module: str, test: str
) -> None:
    assert importlib.import_module(module).__doc__, f"{module} ({component} of {seed}) explains itself"
    assert (ROOT / test).is_file()


def test_no_component_of_the_seeds_is_missing() -> None:
    named = {(seed, re.split(r"[,:]", component)[0]) for seed, component, _, _ in ROWS}
    wanted = {(seed, name) for seed, names in COMPONENTS.items() for name in names.split(",")}
    assert wanted <= named


def test_each_package_of_the_house_is_on_the_map() -> None:
    packages = {path.parent.name for path in (ROOT / "src" / "twinlock").glob("*/__init__.py")}
    mapped = set(re.findall(r"^  (\w+)/ ", TEXT, re.MULTILINE))
    assert packages == mapped
