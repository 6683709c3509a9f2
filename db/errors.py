"""SQLAlchemy's and the drivers' errors, translated once into ours: one line, without the password."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from nas.errors import InvalidInputError, NasError

T = TypeVar("T")

_RACES = 5
_RACE_PAUSE_S = 0.2
_UNUSABLE_FILE = {
    "file is not a database": "it is a file of another kind; name another file",
    "unable to open database file": "check that the folder exists and that you may write there",
    "attempt to write a readonly database": "check that you may write the file and its folder",
}
_STATES = {
    "database or disk is full": (
        "the disk is full; free some space and give the same command again, what was recorded so far is safe"
    ),
    "database is locked": (
        "another process has held it for longer than the busy timeout; end that process and give the same command again"
    ),
}


def one_line(error: BaseException, url: URL) -> str:
    """The driver's message on one line, with the password of the URL blanked out."""
    original = getattr(error, "orig", None) or error
    text = " ".join(str(original).split())
    if url.password:
        text = text.replace(str(url.password), "***")
    return text


def _translate(error: SQLAlchemyError, url: URL, opening: bool) -> NasError:
    text = one_line(error, url)
    place = url.render_as_string(hide_password=True)
    for known, advice in _UNUSABLE_FILE.items():
        if known in text:
            return InvalidInputError(f"cannot use the database {place}: {advice} ({text})")
    for known, advice in _STATES.items():
        if known in text:
            return NasError(f"cannot write the database {place}: {advice} ({text})")
    if opening:
        return InvalidInputError(
            f"the database {place} does not answer: {text}; check the URL and that the server runs"
        )
    return NasError(f"the database {place} failed: {text}")


@contextmanager
def translated_errors(url: URL, *, opening: bool = False) -> Iterator[None]:
    """Turn what SQLAlchemy raises inside the block into a NasError.

    A violated constraint passes unchanged: only the caller knows which fact was there already.

    Args:
        url: of the database.
        opening: True until the database has answered once; from then on a failure is not the URL's fault.

    Raises:
        InvalidInputError: if the URL, the file or the folder cannot be used.
        NasError: for every other failure of the database.
    """
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        raise _translate(error, url, opening) from error


def again_after_races(make: Callable[[], T], url: URL) -> T:
    """Call what makes tables without a lock of its own, as Optuna does: two processes that open a new database at once
    get into each other's way, and each finds the other's tables when it looks again.

    Raises:
        InvalidInputError: if the URL, the file or the folder cannot be used.
        NasError: for every other failure of the database.
    """
    for _ in range(_RACES):
        try:
            return make()
        except SQLAlchemyError:
            time.sleep(_RACE_PAUSE_S)
    with translated_errors(url):
        return make()
