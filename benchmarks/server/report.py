"""The table of `server.md`, from the figures as measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

FEED_LIMIT_MS = 100
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


class Row(NamedTuple):
    """What must hold of a step. shown: its figure in words; holds: None where nothing was promised."""

    step: str
    what: str
    goal: str
    shown: Callable[[Any], str]
    holds: Callable[[Any], bool] | None = None


def _feed(run: Mapping[str, Any]) -> str:
    """One rate of the feed."""
    return (
        f"p99 {run['p99_ms']:.0f} ms, p50 {run['p50_ms']:.0f} ms at {run['rate']} updates/s"
        f" ({run['frames_per_second']:,} frames/s; server {run['server_cpu_share']:.2f} of a core)"
    )


def _sustained(runs: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The fastest rate that holds."""
    return next((run for run in reversed(runs) if run["complete"] and run["p99_ms"] <= FEED_LIMIT_MS), None)


def _most(runs: list[Mapping[str, Any]]) -> str:
    best = _sustained(runs)
    return "none" if best is None else _feed(best)


def _revoked(found: Mapping[str, Any]) -> str:
    return (
        f"{found['longest_cpu_while_revoking_ms']} ms; a look at all {found['look_cpu_ms']} ms;"
        f" all {found['matches']:,} revoked {found['all_revoked_after_timeout_seconds']} s after the deadline"
    )


def _epoch(found: Mapping[str, Any]) -> str:
    return (
        f"{found['transaction_seconds']} s; the whole epoch {found['epoch_seconds']} s,"
        f" the loop's longest turn of it {found['longest_cpu_ms']} ms"
    )


ROWS = (
    Row(
        "cycle",
        "one match cycle, 10,000 orders on a book of 50,000, pure engine (CPU time)",
        "60 ms",
        lambda found: f"median {found['cpu_ms']} ms, best {found['best_cpu_ms']} ms; {found['matches']:,} matches",
        lambda found: bool(found["cpu_ms"] <= 60),
    ),
    Row(
        "matching",
        "working off that queue alone, compiled, and in turn with its twin in plain Python",
        "",
        lambda found: f"{found['compiled_ms']} ms; the twin {found['plain_ms']} ms, {found['times']} times as long",
    ),
    Row(
        "commit_sqlite",
        "epoch commit of that cycle, SQLite, synced",
        "0.5 s",
        _epoch,
        lambda found: bool(found["transaction_seconds"] <= 0.5),
    ),
    Row(
        "commit_postgresql",
        "the same, PostgreSQL, synced",
        "1 s",
        _epoch,
        lambda found: bool(found["transaction_seconds"] <= 1),
    ),
    Row(
        "intake",
        "order intake, 200 connections, frame to signed receipt",
        "3,000/s",
        lambda found: f"{found['per_second']:,}/s (runs: {_rates(found)}); {_cost(found)}",
        lambda found: bool(found["per_second"] >= 3_000),
    ),
    Row(
        "intake_tls",
        "the same over TLS, which the server's one thread encrypts and decrypts too",
        "",
        lambda found: f"{found['per_second']:,}/s; {_cost(found)}",
    ),
    Row(
        "feed",
        "book feed, 1,000 subscribers, from the order's stamp to the last socket",
        "p99 100 ms at 100 updates/s",
        lambda found: _feed(found[0]),
        lambda found: bool(found[0]["complete"] and found[0]["p99_ms"] <= FEED_LIMIT_MS),
    ),
    Row("feed", "the highest rate that holds its p99 of 100 ms, with every update at every socket", "", _most),
    Row("feed_tls", "book feed, 1,000 subscribers, each over TLS of its own", "", _feed),
    Row(
        "idle_kb",
        "memory per idle connection, plain / TLS (resident set)",
        "40 / 100 kB",
        lambda found: f"{found['plain']} / {found['tls']} kB",
        lambda found: bool(found["plain"] <= 40 and found["tls"] <= 100),
    ),
    Row(
        "settling",
        "5,000 matches out of time at once: the longest turn of the loop (CPU), and when the last was revoked",
        "100 ms, none missed",
        _revoked,
        lambda found: bool(found["longest_cpu_while_revoking_ms"] <= 100),
    ),
    Row(
        "unredeemed",
        "the same after both contracts of each: the chain is asked for a redemption before anybody is blamed",
        "100 ms, none missed",
        _revoked,
        lambda found: bool(found["longest_cpu_while_revoking_ms"] <= 100),
    ),
)


def _cost(found: Mapping[str, Any]) -> str:
    loop = found.get("loop_cpu_us_per_order")
    return f"{found['server_cpu_us_per_order']} us of CPU each" + (f", {loop} of them in the loop" if loop else "")


def _rates(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{rate:,}" for rate in found.get("all_per_second", [found["per_second"]]))


def table(found: Mapping[str, Any]) -> str:
    """The rows of the steps that were measured, in Markdown."""
    lines = ["| Step | What | Goal | Measured | Holds | Load before |", "|---|---|---|---|---|---|"]
    for row in ROWS:
        if row.step in found:
            figures = found[row.step]
            holds = "" if row.holds is None else "yes" if row.holds(figures) else "no"
            load = found.get("load_before", {}).get(row.step, "")
            lines.append(f"| `{row.step}` | {row.what} | {row.goal} | {row.shown(figures)} | {holds} | {load} |")
    return "\n".join(lines)


def baseline(found: Mapping[str, Any]) -> str:
    """What the machine gave without the exchange."""
    if "baseline" not in found:
        return ""
    bare = found["baseline"]
    return (
        f"\n\nThe machine without the exchange: {bare['signatures_checked_per_second']:,} signatures checked"
        f" and {bare['signatures_made_per_second']:,} made a second on one core; {bare['sync_ms']} ms to sync 4 kB;"
        f" {bare['bare_frames_per_second']:,} frames/s from the same load against a bare server that only answers"
        f" (the load used {bare['bare_load_cpu_seconds']} s of CPU for 10,000)."
    )


def written(page: str, found: Mapping[str, Any]) -> str:
    """The page with its measured part replaced."""
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return f"{before}{_BEGIN}\n{table(found)}{baseline(found)}\n{_END}{after}"
