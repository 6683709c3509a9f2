"""A Python program as the caller of long work: signals, lines and log for the time of the work, and not longer."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from hybrid_nas.commands import counting
from hybrid_nas.streams import tell
from nas.caller import Caller
from nas.signals import StopSignals
from nas.workspace import open_log

OURS = ("nas", "workers", "search_spaces", "db", "hybrid_nas")
"""Loggers of our packages."""


@contextlib.contextmanager
def called_from_python(*, silent: bool) -> Iterator[Caller]:
    """A caller for the time of the block.

    In the main thread Ctrl-C, SIGTERM and SIGHUP end the work in order; in another thread there are no handlers. Log
    lines of ours go to the log of the study meanwhile, and nowhere else; the program's own loggers stay as they are.

    Args:
        silent: print nothing.
    """
    with contextlib.ExitStack() as opened:
        signals = StopSignals()
        if threading.current_thread() is threading.main_thread():
            opened.enter_context(signals)
        if not silent:
            opened.enter_context(counting())
        yield Caller(signals, _silence if silent else tell, lambda file: opened.enter_context(_logging_to(file)))


@contextlib.contextmanager
def libraries_unheard() -> Iterator[None]:
    """Warnings and log lines of libraries go to the log of the study, if one is open, and never to a terminal: glyphs
    that a font lacks, a cache that cannot be written, how an image was saved. Nobody can act on these there."""
    others = logging.lastResort
    assert others is not None
    others.addFilter(_is_ours)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        others.removeFilter(_is_ours)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in OURS


def _silence(text: str) -> None:
    """Say nothing."""


@contextlib.contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    handler = open_log(file)
    loggers = [logging.getLogger(name) for name in OURS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        handler.close()
