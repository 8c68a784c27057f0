"""The command `twinlock`: its subcommands are loaded only when they are called for."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click
import structlog

from twinlock import __version__
from twinlock.errors import TwinlockError

COMMANDS = {
    "audit": "Replay a market's signed epoch ledger; fail on any edit.",
    "client": "Trade: wallets, bonds, orders and swaps.",
    "demo": "Run a whole exchange on this machine and watch a swap settle on two chains.",
    "indexer": "Serve a chain to light wallets (the Electrum protocol).",
    "proof": "Prove a swap to anybody, with one file that is verified off line.",
    "server": "Run an exchange: match orders and referee their settlement.",
    "tower": "Watch over the swaps of a client that is away, without any key of its wallet.",
}
"""Each is the object of the same name in `twinlock.cli.NAME`."""


class LazyGroup(click.Group):
    """Imports a subcommand's module when it is run, so that `twinlock --help` costs nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"twinlock.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TwinlockError as error:
            raise _explain(error) from error
        except OSError as error:
            if error.filename is None:  # No file that somebody named: a defect, to be seen whole.
                raise
            raise click.FileError(str(error.filename), error.strerror) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="twinlock")
def main() -> None:
    """Twinlock: an exchange that never holds a coin."""
    # Standard output is for what was asked for; commands that want another place for their log say so.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def _explain(error: TwinlockError) -> click.ClickException:
    """What went wrong, and what to do about it, in two lines at most."""
    return _Refusal(f"{error} [{error.code}]" + (f"\n{error.fix}" if error.fix else ""), exit_code(error))


class _Refusal(click.ClickException):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]


NO_ANSWER, FORBIDDEN, STORE, FUNDS, DEFECT = 3, 4, 5, 6, 70
EXIT_CODES = {
    "control.not_running": NO_ANSWER,
    "control.forbidden": FORBIDDEN,
    "store.password": FORBIDDEN,
    "store.locked": STORE,
    "store.corrupt": STORE,
    "store.newer": STORE,
    "store.error": STORE,
    "store.missing": STORE,
    "store.exists": STORE,
    "wallet.short_funds": FUNDS,
    "wallet.too_many_coins": FUNDS,
    "session.offline": NO_ANSWER,
    "wallet.scanning": NO_ANSWER,
    "session.timeout": NO_ANSWER,
    "session.closed": NO_ANSWER,
    "client.defect": DEFECT,
}
"""Exit status by an error's code, where it is not 1; `twinlock client --help` lists them."""


def exit_code(error: TwinlockError) -> int:
    """What the program ends with."""
    return EXIT_CODES.get(error.code, 1)


if __name__ == "__main__":
    sys.exit(main())
