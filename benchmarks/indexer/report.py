"""The result as a page."""

from __future__ import annotations

from typing import Any

TARGETS = {
    "get_history": 10,
    "get_balance": 8,
    "listunspent": 8,
    "subscribe": 11,
    "transaction.get": 8,
    "transaction.get_merkle": 8,
    "block.header": 10,
    "block.headers(100)": 6,
    "huge get_history": 15,
    "huge get_balance": 60,
    "huge listunspent": 15,
    "huge subscribe": 15,
}
"""How many times less CPU than ElectrumX a request should cost."""


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def page(result: dict[str, Any]) -> str:
    """Markdown of all that was measured."""
    large = result["chains"][-1]
    parts = [
        "# The indexer, measured\n",
        f"{result['when']}; {result['machine']}; load while it ran {result['load']}.",
        f"{', '.join(f'{name} {version}' for name, version in result['versions'].items())}.\n",
        "`make bench-indexer`. CPU is the server's, user and system. Where the load says that other work shared the",
        "machine, CPU times and ratios are what to look at; wall times are upper bounds.\n",
        "## First sync\n",
        _sync(result["chains"]),
        f"REST delivers the blocks of the largest chain in {large['delivery_s']} s: the floor for whoever asks the",
        "node. The block files of a node on the same machine are read without it.\n",
        f"## Questions, {large['txs']:,d} transactions\n",
        _questions(large),
    ]
    if "compared" in large:
        both = large["compared"]
        parts.append(f"{both['asked']:,d} answers compared with ElectrumX's, {both['different']} different.")
    checked = large["checked"]
    parts.append(
        f"{checked['histories']:,d} histories with {checked['entries']:,d} entries as the generator counted them,"
        f" {checked['wrong']} wrong.\n"
    )
    parts += ["## While huge histories are served\n", _fields(large["beside_huge"]), "## News\n", _news(large["news"])]
    return "\n".join(parts)


def _fields(row: dict[str, Any]) -> str:
    return table(list(row), [list(row.values())])


def _sync(chains: list[dict[str, Any]]) -> str:
    head = ["transactions", "server", "s", "CPU s", "peak MiB", "disk MB"]
    rows = [
        [f"{chain['txs']:,d}", name, s["seconds"], s["cpu_seconds"], s["peak_mib"], s["disk_mb"]]
        for chain in chains
        for name, s in chain["sync"].items()
    ]
    return table(head, rows)


def _questions(chain: dict[str, Any]) -> str:
    ours, theirs = chain["questions"]["twinlock"], chain["questions"].get("electrumx", {})
    rows = []
    for name, row in ours.items():
        peer = theirs.get(name)
        ratio = f"{peer['cpu_us'] / max(row['cpu_us'], 0.1):.1f}" if peer else ""
        wanted = TARGETS.get(name, "")
        rows.append(
            [
                name,
                row["cpu_us"],
                row["per_second"],
                row["p50_ms"],
                row["p99_ms"],
                peer["cpu_us"] if peer else "",
                ratio,
                wanted,
            ]
        )
    head = ["request", "CPU µs", "per s", "p50 ms", "p99 ms", "ElectrumX CPU µs", "times less", "wanted"]
    return table(head, rows)


def _news(news: dict[str, Any]) -> str:
    big = news["big_block"]
    text = _fields({**news["payments"]})
    return text + (
        f"\nA block of {big['txs']:,d} transactions that touches {big['watched']:,d} watched scripts, over"
        f" {big['rounds']} rounds: header {big['header_ms']} ms, last status {big['last_status_ms']} ms (medians).\n"
    )
