"""What libraries say with Python's own logging, in the shape of everything else in a program's log."""

from __future__ import annotations

import logging

import structlog

log = structlog.get_logger("library")


class _Adapter(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def adopt_logs() -> None:
    """Take the errors of libraries into our log. Their warnings tell of peers' mistakes, and any peer can make many."""
    logging.basicConfig(level=logging.ERROR, handlers=[_Adapter()], force=True)
