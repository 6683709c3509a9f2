"""How a command ends: every outcome becomes an exit code and at most one line."""

import logging
import sys
import traceback
from typing import NoReturn

import click

from hybrid_nas.streams import is_output_fault, tell
from nas.errors import NasError
from nas.search.loop import EXIT_INTERRUPTED
from nas.signals import StopSignals

_log = logging.getLogger("nas")


def run(command: click.Command, signals: StopSignals) -> None:
    """The command that was typed. Raises SystemExit where the exit code is not 0."""
    try:
        command(standalone_mode=False, obj=signals)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        tell("interrupted; the state is saved, the same command continues", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except NasError as error:
        if _log.hasHandlers():
            _log.error("%s", error)
        _fail(str(error), error.exit_code)
    except OSError as error:
        if not is_output_fault(error):
            _fail(_fault_of_ours(error), 1)
        if not isinstance(error, BrokenPipeError):
            _fail(f"the output cannot be written ({error.strerror}); send it elsewhere", 1)
        sys.exit(1)  # `launch.py status | head` has had what it wants
    except Exception as error:
        _fail(_fault_of_ours(error), 1)


def _fault_of_ours(error: Exception) -> str:
    """The last line about an error that nobody foresaw; the lines before it go to the log, or before it."""
    details = "the log of the study has the details"
    if _log.hasHandlers():
        _log.exception("unexpected error")
    else:
        details = "the lines above are the details"
        tell(traceback.format_exc(), err=True)
    return f"unexpected {type(error).__name__}; this is a fault of ours, {details}"


def _fail(message: str, exit_code: int) -> NoReturn:
    """Print one line about an error, and end."""
    tell(f"error: {' '.join(message.split(chr(10)))}", err=True)
    sys.exit(exit_code)
