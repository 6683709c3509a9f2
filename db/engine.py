"""Storage URLs and connections: SQLite in WAL mode, PostgreSQL through psycopg."""

import importlib.util
import json
import re
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from db.sqlite_file import BUSY_TIMEOUT_S, connect_reading, is_writable
from nas.errors import InvalidInputError

CONNECT_TIMEOUT_S = 5
_EXPECTED = "expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME"


class WalConnection(sqlite3.Connection):
    """A SQLite connection in WAL mode: readers never wait for the writer, and a commit needs no fsync of its own.

    With synchronous=NORMAL a power cut may lose the last commits but never corrupts; a killed process loses nothing.
    Source: https://www.sqlite.org/wal.html and https://www.sqlite.org/pragma.html#pragma_synchronous
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            self._enter_wal_mode()
            self.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error:
            self.close()
            raise

    def _enter_wal_mode(self) -> None:
        # Two processes that create one database at the same moment: SQLite answers "locked" here without waiting for
        # the busy timeout.
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while self.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            try:
                self.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def redact_url(url: str) -> str:
    """The URL with *** for its password, however it is written; the path of a SQLite file stays as it is."""
    if re.match(r"sqlite(\+\w+)?:///", url):
        return url
    url = re.sub(r"(://[^:/@?]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&](?:ssl)?password=)[^&#]*", r"\1***", url, flags=re.IGNORECASE)


def parse_url(url: str) -> URL:
    """Check a storage URL without connecting.

    Raises:
        InvalidInputError: if it is malformed, names another database system or lacks a driver; the message has no
            password.
    """
    shown = redact_url(url)
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        # Without `from`: the original message may quote the URL with its password.
        raise InvalidInputError(f"cannot read the storage URL {shown}: {_EXPECTED}") from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _check_sqlite(parsed, shown)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return _check_postgres(parsed, shown)
    raise InvalidInputError(f"the storage URL {shown} names {parsed.drivername!r}: {_EXPECTED}")


def _check_sqlite(url: URL, shown: str) -> URL:
    if not url.database or url.database == ":memory:" or "\0" in url.database or url.host or url.query:
        raise InvalidInputError(
            f"the storage URL {shown} names no plain file: expected sqlite:///FILE (four slashes for an absolute path)"
        )
    return url


def _check_postgres(url: URL, shown: str) -> URL:
    if importlib.util.find_spec("psycopg") is None:
        raise InvalidInputError(
            f"the storage URL {shown} needs the driver psycopg: install this project with the extra `postgres`"
        )
    if "@" in (url.host or ""):
        raise InvalidInputError(f"cannot read the storage URL {shown}: write a @ in the password as %40")
    return url


def engine_kwargs(url: str) -> dict[str, Any]:
    """Arguments for `sqlalchemy.create_engine`, here and in `optuna.storages.RDBStorage(url, engine_kwargs=...)`.

    Raises:
        InvalidInputError: as parse_url.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {"connect_args": {"factory": WalConnection, "timeout": BUSY_TIMEOUT_S}}
    # A server whose machine has vanished answers nothing, and TCP alone would notice after a quarter of an hour.
    limits = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": 30_000,
    }
    given = {name: value for name, value in limits.items() if name not in parsed.query}
    # The environment, or the database itself, may ask for an encoding that lacks what we write.
    return {"connect_args": {**given, "client_encoding": "utf8"}, "pool_pre_ping": True}


def make_engine(url: str, *, create: bool = True) -> Engine:
    """An engine for our own tables: real transactions and foreign keys on SQLite too. Nothing is connected yet.

    Args:
        url: the storage URL.
        create: make the parent folder of a SQLite file; without it the file must exist, and its journal mode stays as
            it is.

    Raises:
        InvalidInputError: if the URL cannot be used, the folder cannot be made, or there is no such file.
    """
    parsed = parse_url(url)
    arguments = engine_kwargs(url)
    if not create:
        arguments["connect_args"].pop(
            "factory", None
        )  # WAL mode is written into the file, and this one may be somebody else's
    engine = sa.create_engine(parsed, json_serializer=partial(json.dumps, allow_nan=False), **arguments)
    if parsed.get_backend_name() == "sqlite":
        _prepare_file(Path(str(parsed.database)), url, create)
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin)
    else:
        event.listen(engine, "connect", _require_unicode, insert=True)
    return engine


def may_write(url: str) -> bool:
    """Whether this user may write the SQLite file; of a server only an attempt tells, and this says True.

    Raises:
        InvalidInputError: as parse_url.
    """
    parsed = parse_url(url)
    return parsed.get_backend_name() != "sqlite" or is_writable(Path(str(parsed.database)))


def reading_kwargs(url: str) -> dict[str, Any]:
    """As engine_kwargs, for a database that is only read: a SQLite file and its folder stay as they are.

    Raises:
        InvalidInputError: as parse_url.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return engine_kwargs(url)
    # How a file can be read depends on who else has it open at the moment.
    return {"creator": partial(connect_reading, Path(str(parsed.database))), "poolclass": NullPool}


def make_reading_engine(url: str) -> Engine:
    """An engine for our own tables that only reads; a SQLite file is there.

    Raises:
        InvalidInputError: as parse_url.
    """
    engine = sa.create_engine(parse_url(url), **reading_kwargs(url))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare_file(path: Path, url: str, create: bool) -> None:
    if not create:
        if not path.exists():
            raise InvalidInputError(f"there is no database {url}: name the one that a search has written (--storage)")
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"cannot make the folder of the database {url}: {error.strerror}; name a folder that you may write"
        ) from error


def _leave_transactions_to_us(connection: sqlite3.Connection, _record: object) -> None:
    # sqlite3 would open its transaction before the first INSERT only, so that a read before it would stand outside.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")


def _require_unicode(connection: Any, _record: object) -> None:
    """Refuse a database that cannot hold every text; SQL_ASCII takes what it gets."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in ("UTF8", "SQL_ASCII"):
        name = connection.info.dbname
        connection.close()
        raise InvalidInputError(
            f"the database {name!r} holds texts in {encoding}; expected UTF8: "
            "make another with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0, and name that (--storage)"
        )


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("one_select"):
        connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN"))


def looking(engine: Engine) -> Engine:
    """The same engine, for one SELECT in each transaction, which sees one moment by itself."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(one_select=True)
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def reading(engine: Engine) -> Engine:
    """The same engine; each of its transactions sees one moment of the database."""
    return engine if engine.dialect.name == "sqlite" else engine.execution_options(isolation_level="REPEATABLE READ")


def writing(engine: Engine) -> Engine:
    """The same engine; each of its transactions takes SQLite's write lock first, because a reader cannot become a
    writer later."""
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
