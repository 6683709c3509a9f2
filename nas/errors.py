"""Errors that a user can act on.

    NasError                     exit code 1
    ├── InvalidInputError        exit code 2: an argument, a path, a URL or a study name is wrong
    │   ├── StudyMismatchError   the study exists and was created with other settings
    │   ├── ReadOnlyError        the database can be read here, and not written
    │   └── UnreachableError     the database does not answer when it is opened; also an UnavailableError
    ├── UnavailableError         database or disk cannot be used now, and may be again (nas/backoff.py waits)
    ├── StudyLockedError         another coordinator that is alive owns the study
    ├── SearchAbortedError       evaluations keep failing; the reason is the architectures' or the machine's
    └── EvaluatorError           the evaluator itself cannot go on (the Ray cluster is gone, for example)

Libraries' own exceptions are translated into these once, at the border of the package that owns the library.
Every message says what was given, what was expected and what to do.
"""

from collections.abc import Sequence


class NasError(Exception):
    """Root of every error that the command line reports as one line."""

    exit_code = 1


class InvalidInputError(NasError, ValueError):
    """An argument, a path, a URL or a name cannot be used as given."""

    exit_code = 2


class StudyMismatchError(InvalidInputError):
    """A study of this name exists and differs in something that is fixed at its creation."""


class ReadOnlyError(InvalidInputError):
    """The database can be read here, and not written."""


class UnavailableError(NasError):
    """Database or disk cannot be used now, and may be again."""


class UnreachableError(InvalidInputError, UnavailableError):
    """The database does not answer when it is opened: its URL may be wrong, or its server away."""


class StudyLockedError(NasError):
    """Another live coordinator owns the study."""


class SearchAbortedError(NasError):
    """Too many evaluations failed; the message carries the last reason."""


class EvaluatorError(NasError):
    """The evaluator cannot go on."""


def first_line(error: BaseException, otherwise: str | None = None) -> str:
    """What an error says, in one line: the first of several.

    Args:
        otherwise: stands for an error that says nothing; the name of its type by default.
    """
    said = str(error).strip() or otherwise or type(error).__name__
    return said.splitlines()[0]


def listed(items: Sequence[str], separator: str = ", ", shown: int = 5) -> str:
    """The first few of several, and how many more there are: "cat, dog and 3 more"."""
    more = len(items) - shown
    return separator.join(items[:shown]) + (f" and {more} more" if more > 0 else "")
