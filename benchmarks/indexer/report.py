"""The results as a page."""

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

FULCRUM = {
    "get_history": 112,
    "get_balance": 28,
    "listunspent": 22,
    "subscribe": 33,
    "transaction.get": 89,
    "transaction.get_merkle": 407,
    "block.header": 16,
    "block.headers(100)": 115,
    "wallet mix": 102,
    "huge get_history": 92_917,
    "huge get_balance": 1_667,
    "huge listunspent": 6_667,
    "huge subscribe": 32_083,
}
"""CPU microseconds a request of Fulcrum 2.1.1 (C++), measured once on such a machine with such a chain."""

Row = dict[str, Any]


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def page(result: Row) -> str:
    """Markdown of all that was measured: each part of the largest chain that has it, and how cost grows."""
    chains = list(result["chains"].values())
    head = [
        "# The indexer, measured\n",
        f"{result['machine']}. {', '.join(f'{name} {version}' for name, version in result['versions'].items())}.",
        "`make bench-indexer` runs all parts, `python -m benchmarks.indexer --part NAME --folder KEPT` one of them.",
        "CPU is the server's, user and system. Each part says when it ran, and the load before and after it.\n",
    ]
    writers = {
        "sync": _sync,
        "stages": _stages,
        "questions": _questions,
        "fairness": _fairness,
        "news": _news,
        "memory": _memory,
    }
    parts = []
    for name, write in writers.items():
        rows = [chain[name] for chain in chains if name in chain]
        if rows:
            parts.append(write(rows))
    return "\n".join(head + parts)


def _ran(row: Row) -> str:
    return f"{row['when']}, load {row['load']}."


def _fields(row: Row) -> str:
    return table(list(row), [list(row.values())])


def _sync(chains: list[Row]) -> str:
    head = ["transactions", "server", "s", "CPU s", "peak MiB", "disk MB"]
    rows = [
        [f"{chain['txs']:,d}", name, s["seconds"], s["cpu_seconds"], s["peak_mib"], s["disk_mb"]]
        for chain in chains
        for name, s in chain["servers"].items()
    ]
    large = chains[-1]
    return (
        f"## First sync\n\n{_ran(large)} From the start of the program to the first answer at the tip; node"
        f" {large['node']}.\n\n{table(head, rows)}\n"
        f"REST delivers the blocks of the largest chain in {large['delivery_s']} s: the floor for whoever asks the\n"
        "node. The block files of a node on the same machine are read without it.\n"
    )


def _stages(chains: list[Row]) -> str:
    head = ["stage", *(f"{chain['txs']:,d} transactions, s" for chain in chains)]
    rows = [[name, *(chain["seconds"][name] for chain in chains)] for name in chains[-1]["seconds"]]
    sums = ("reading_s", "sorting_s", "spilled_reading_s", "spilled_sorting_s")
    rows += [[name.removesuffix("_s").replace("_", ", "), *(chain[name] for chain in chains)] for name in sums]
    large = chains[-1]
    return (
        f"## Where a first sync's time goes\n\n{_ran(large)} The build alone, in one thread and under a profiler;"
        " `spilled` with 32 MiB for rows.\n\n"
        f"{table(head, rows)}\nBytes a transaction: {large['bytes_per_tx']} of blocks, {large['index_bytes_per_tx']} of"
        f" index, {large['spilled_bytes_per_tx']} of files in between where rows do not fit into memory.\n"
    )


def _ratio(dearer: float, cheaper: float) -> str:
    return f"{dearer / max(cheaper, 0.1):.1f}"


def _questions(chains: list[Row]) -> str:
    large, small = chains[-1], chains[0]
    theirs = large.get("electrumx", {})
    rows = []
    for name, row in large["twinlock"].items():
        cpu, peer, fulcrum = row["cpu_us"], theirs.get(name, {}).get("cpu_us"), FULCRUM.get(name)
        compared = [peer or "", _ratio(peer, cpu) if peer else "", TARGETS.get(name, "")]
        compared += [fulcrum or "", _ratio(fulcrum, cpu) if fulcrum else ""]
        rows.append(
            [name, cpu, row["per_second"], row["p50_ms"], row["p99_ms"], *compared, small["twinlock"][name]["cpu_us"]]
        )
    head = ["request", "CPU µs", "per s", "p50 ms", "p99 ms", "ElectrumX CPU µs", "times less", "wanted"]
    head += ["Fulcrum CPU µs", "times less", "CPU µs on the smallest chain"]
    text = f"## Questions\n\n{_ran(large)} Each server finds the node's block files in memory.\n\n{table(head, rows)}\n"
    if both := large.get("compared"):
        text += f"{both['asked']:,d} answers compared with ElectrumX's, {both['different']} different.\n"
    checked = large["checked"]
    return text + (
        f"{checked['histories']:,d} histories with {checked['entries']:,d} entries as the generator counted them,"
        f" {checked['wrong']} wrong.\n"
    )


def _fairness(chains: list[Row]) -> str:
    row = dict(chains[-1])
    ran = _ran({"when": row.pop("when"), "load": row.pop("load")})
    return f"## While huge histories are served\n\n{ran}\n\n{_fields(row)}"


def _news(chains: list[Row]) -> str:
    row = chains[-1]
    big, polled = row["big_block"], dict(row["polled"])
    return (
        f"## News\n\n{_ran(row)} Milliseconds from the node's answer; medians.\n\n{_fields(row['payments'])}"
        f"\nA node that does not call by itself ({polled.pop('node')}), asked twice a second:\n\n"
        f"{_fields(polled)}"
        f"\n{big['subscribed']:,.0f} subscribed scripts, and a block of {big['txs']:,d} transactions that touches"
        f" {big['touched']:,.0f} of them, over {big['rounds']} rounds: header {big['header_ms']} ms, last status"
        f" {big['last_status_ms']} ms.\n"
    )


def _memory(chains: list[Row]) -> str:
    part = chains[-1]
    rows = part["rows"]
    return f"## Memory under siege\n\n{_ran(part)}\n\n{table(list(rows[0]), [list(row.values()) for row in rows])}"
