"""The page of the server's figures: only what was measured, and what does not hold is said so."""

from __future__ import annotations

from benchmarks.server.report import table, written

CYCLE = {"cpu_ms": 61.0, "best_cpu_ms": 58.0, "matches": 8026}
FEED = {"rate": 100, "p99_ms": 80.0, "p50_ms": 40.0, "complete": True, "frames_per_second": 99, "server_cpu_share": 0.4}


def test_a_row_for_each_step_that_was_measured() -> None:
    assert len(table({}).splitlines()) == 2
    [row] = table({"cycle": CYCLE}).splitlines()[2:]
    assert "median 61.0 ms" in row
    assert "| no |" in row
    assert "| yes |" in table({"cycle": CYCLE | {"cpu_ms": 60.0}})


def test_the_highest_rate_that_holds_is_the_last_complete_one_within_the_limit() -> None:
    runs = [FEED, FEED | {"rate": 200, "p99_ms": 99.0}, FEED | {"rate": 300, "p99_ms": 101.0}]
    first, highest = table({"feed": runs}).splitlines()[2:]
    assert "at 100 updates/s" in first
    assert "at 200 updates/s" in highest
    assert "none" in table({"feed": [FEED | {"complete": False}]}).splitlines()[3]


def test_only_the_measured_part_of_the_page_changes() -> None:
    page = "before\n<!-- measured: begin -->\nfigures of another day\n<!-- measured: end -->\nafter\n"
    found = written(page, {"cycle": CYCLE})
    assert found.startswith("before\n")
    assert found.endswith("\nafter\n")
    assert "another day" not in found
    assert written(found, {"cycle": CYCLE}) == found
