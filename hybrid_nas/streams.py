"""The standard streams of a command, whatever they are: closed, full, without a reader, of any encoding."""

import contextlib
import io
import os
import sys
from typing import TextIO

from nas.text import printable


def open_streams() -> None:
    """Put the null device where a stream is closed, or the next file that is opened would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 (open to the end, like the others)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for what libraries print


def echo(text: str, *, err: bool = False) -> None:
    """Print a text; what the stream cannot show, or what would steer a terminal, is written out.

    Raises:
        OSError: if the stream cannot be written.
    """
    stream = _stream(err)
    stream.write(printable(text, getattr(stream, "encoding", None) or "utf-8") + "\n")
    stream.flush()


def tell(text: str, *, err: bool = False) -> None:
    """`echo` in the midst of work that no output can fail, in a process that may have none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        echo(text, err=err)


def is_output_fault(error: Exception) -> bool:
    """Whether a stream could not be written, by `echo` or by click for its help texts."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = "" if trace is None else trace.tb_frame.f_globals["__name__"]
    return isinstance(error, OSError) and raised_in in (__name__, "click.utils")


def close_streams() -> None:
    """Lose what cannot be written, or Python would end the process with lines and an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def _stream(err: bool) -> TextIO:
    return sys.stderr if err else sys.stdout
