"""SQLAlchemy's and the drivers' errors, translated once into ours: one line, without the password."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import URL, Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError

from db.engine import redact_url
from nas.errors import InvalidInputError, NasError, ReadOnlyError, UnavailableError, UnreachableError

T = TypeVar("T")

_RACES = 5
_RACE_PAUSE_S = 0.2
_NO_DATABASE = "file is not a database"
_NO_ACCESS = "unable to open database file"
_STATES = {
    "database or disk is full": "the disk is full; free some space, what was recorded so far is safe",
    "database is locked": "another process has held it for longer than the busy timeout; end that process",
    "database table is locked": "another process holds a table of it; end that process",
    "disk I/O error": "the disk cannot be read or written; look at its state, what was recorded so far is safe",
}
"""SQLite's words -> what is the matter, where it may pass."""
_READ_ONLY = "readonly database"
_READ_ONLY_STATES = ("25006", "42501")
"""PostgreSQL's: the transaction or the server is read-only, or the user lacks the privilege.
Source: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_PASSING_CLASSES = ("08", "40", "53", "57", "58")
"""PostgreSQL's: connection, rollback, resources (a full disk), intervention (a shutdown), system."""
_LOCK_NOT_AVAILABLE = "55P03"


def one_line(error: BaseException, url: URL) -> str:
    """The driver's message on one line, with the password of the URL blanked out."""
    original = getattr(error, "orig", None) or error
    text = " ".join(str(original).split())
    for secret in (url.password, url.query.get("password"), url.query.get("sslpassword")):
        if secret:
            text = text.replace(str(secret), "***")
    return text


def place_of(url: URL) -> str:
    """The URL as messages show it: a password may also stand in its query."""
    return redact_url(url.render_as_string(hide_password=True))


def _translate(error: SQLAlchemyError, url: URL, opening: bool) -> NasError:
    text = one_line(error, url)
    place = place_of(url)
    if _READ_ONLY in text or _sqlstate(error) in _READ_ONLY_STATES:
        return ReadOnlyError(
            f"cannot write the database {place}: the rights here do not suffice ({text}); see who may write it"
        )
    if _NO_DATABASE in text:
        return InvalidInputError(
            f"cannot use the database {place}: it is a file of another kind, or an encrypted one; name another file "
            f"({text})"
        )
    for known, state in _STATES.items():
        if known in text:
            return UnavailableError(f"cannot write the database {place}: {state} ({text})")
    if opening and _NO_ACCESS in text:
        return InvalidInputError(
            f"cannot use the database {place}: check that the folder exists and that you may write there ({text})"
        )
    if opening and is_passing(error):
        return UnreachableError(f"the database {place} does not answer: {text}; check the URL and that the server runs")
    if opening:
        return InvalidInputError(f"cannot use the database {place}: {text}; name another database (--storage)")
    if is_passing(error):
        return UnavailableError(f"the database {place} does not answer: {text}")
    return NasError(f"the database {place} failed: {text}")


def _sqlstate(error: SQLAlchemyError) -> str:
    """PostgreSQL's code of the error; empty without one, as for a connection that cannot be made."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def is_passing(error: SQLAlchemyError) -> bool:
    """Whether the same may succeed later: the server is away, a lock is held, the disk is full."""
    text = str(getattr(error, "orig", None) or error)
    if _NO_ACCESS in text or any(known in text for known in _STATES):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = _sqlstate(error)
    if state:
        return state[:2] in _PASSING_CLASSES or state == _LOCK_NOT_AVAILABLE
    # Without a code it is no answer of the server. SQLite has no codes, and its other errors stay.
    from_server = type(getattr(error, "orig", None)).__module__.startswith("psycopg")
    return from_server and isinstance(error, OperationalError | InterfaceError)


def let_outages_through(engine: Engine) -> None:
    """Let a library that works over this engine raise our UnavailableError in an outage.

    Optuna takes SQLAlchemy's own errors for a passing deadlock: it would create a trial again whose first commit may
    have gone through.
    """

    def translate(context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        # A ping whose answer is missing is no outage yet: the pool connects anew.
        if isinstance(error, SQLAlchemyError) and is_passing(error) and not context.is_pre_ping:
            raise _translate(error, engine.url, opening=False) from error

    event.listen(engine, "handle_error", translate)


@contextmanager
def translated_errors(url: URL, *, opening: bool = False) -> Iterator[None]:
    """Turn what SQLAlchemy raises inside the block into a NasError.

    A violated constraint passes unchanged: only the caller knows which fact was there already.

    Args:
        url: of the database.
        opening: True until the database has answered once; from then on a failure is not the URL's fault.

    Raises:
        InvalidInputError: if the URL, the file or the folder cannot be used.
        UnreachableError: if it does not answer while it is opened.
        ReadOnlyError: if it can only be read.
        UnavailableError: if the same may succeed later.
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
