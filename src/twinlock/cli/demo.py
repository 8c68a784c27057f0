"""`twinlock demo`: a whole exchange on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click
import structlog
import uvloop

from twinlock.seams import SystemClock, SystemEntropy
from twinlock.simnet.demo import STAKES, Demo, make_plan
from twinlock.simnet.exchange import Plan
from twinlock.simnet.timeline import JsonTimeline, RichTimeline, Timeline

INTERRUPTED = 130
"""Exit status when Ctrl-C came before the first swap had settled."""


def _market(_context: click.Context, _parameter: click.Parameter, text: str) -> Plan:
    base, _, quote = text.partition("_")
    if base == quote or base not in STAKES or quote not in STAKES:
        raise click.BadParameter(f"name two of {', '.join(STAKES)}, such as ltc_btc")
    return make_plan(base, quote)


@click.command()
@click.option("--once", is_flag=True, help="End after the first settled swap, with status 0 if it settled.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, and a summary object at the end.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="An empty or new folder for all data.")
@click.option("--keep", is_flag=True, help="Leave the data and the logs where they are at the end.")
@click.option("--coins", "plan", default="ltc_btc", show_default=True, callback=_market, help="The market to trade.")
def demo(once: bool, as_json: bool, data_dir: Path | None, keep: bool, plan: Plan) -> None:
    """Run a whole exchange on this machine and watch a swap settle on two chains.

    Starts two coin nodes on private chains, an indexer for each, the exchange server and two traders. When their
    swap has settled, two market makers trade until Ctrl-C, which stops every process and leaves none behind.
    """
    folder = _folder(data_dir)
    _log_to(folder / "logs" / "demo.log")
    clock = SystemClock()
    timeline: Timeline = JsonTimeline(clock) if as_json else RichTimeline(clock)
    story = Demo(plan, folder, timeline, clock, SystemEntropy())
    started = clock.monotonic()
    try:
        with timeline:
            uvloop.run(_run(story, once))
    except BaseException:
        click.echo(f"The logs are in {folder / 'logs'}.", err=True)
        raise
    timeline.summary(swaps=story.swaps, seconds=round(clock.monotonic() - started, 1), wallets=story.wallets)
    if keep:
        click.echo(f"The data is in {folder}.", err=True)
    else:
        shutil.rmtree(folder)
    sys.exit(0 if story.swaps else INTERRUPTED)


def _folder(chosen: Path | None) -> Path:
    if chosen is None:
        return Path(tempfile.mkdtemp(prefix="twinlock-demo-"))
    if chosen.exists() and (not chosen.is_dir() or any(chosen.iterdir())):
        raise click.BadParameter(f"{chosen} is not empty", param_hint="--data-dir")
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen.absolute()


def _log_to(file: Path) -> None:
    """What the traders log goes where the other processes' logs are; the terminal is the timeline's."""
    file.parent.mkdir()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file.open("a", buffering=1)),
    )


async def _run(story: Demo, once: bool) -> None:
    """The story, ended in good order by the first SIGINT or SIGTERM; later ones change nothing."""
    task = asyncio.create_task(story.run(once=once))
    interrupted = asyncio.Event()

    def interrupt() -> None:
        if not interrupted.is_set():
            interrupted.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    with contextlib.suppress(asyncio.CancelledError):
        await task
