"""Who asks for long work: how they stop it, and what they hear of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.signals import StopSignals


@dataclass(frozen=True, slots=True)
class Caller:
    """The command line, or a program that uses hybrid_nas.api."""

    signals: StopSignals
    """Whether the work is to stop."""
    say: Callable[[str], None]
    """Takes lines for people."""
    keep_log: Callable[[Path], object]
    """Opens the log of the study that is worked on."""
