"""Whether anything was written to a database, for those who look again and again."""

import sqlite3
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError


class Pulse:
    """The version of a SQLite file: one look takes microseconds and waits for nobody. Belongs to one thread.

    Source: https://www.sqlite.org/pragma.html#pragma_data_version
    """

    def __init__(self, engine: Engine) -> None:
        """Use a database; the connection is made at the first look, and never writes."""
        self._engine = engine
        self._connection: Any = None

    def version(self) -> int | None:
        """A number that every commit of others changes; None where only a query tells."""
        if self._engine.dialect.name != "sqlite":
            return None
        try:
            if self._connection is None:
                self._connection = self._connect()
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except (sqlite3.Error, SQLAlchemyError):  # whoever asks now hears of it
            return None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> Any:
        """A connection outside the pool: the numbers of two cannot be compared."""
        pooled = self._engine.raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        assert connection is not None, "it was made a moment ago"
        connection.execute("PRAGMA busy_timeout=0")
        return connection
