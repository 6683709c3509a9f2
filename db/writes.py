"""How often this process wrote to a database, for those who keep what they read."""

from typing import Any

from sqlalchemy import Connection, Engine, event

_WRITER_OPTION = "sqlite_begin"
"""Set on the connections of db/engine.py's `writing`, whatever the database is."""
_WRITES = "writes"


class Writes:
    """Counts transactions of `writing(engine)`, each when its connection goes back: committed, or without effect."""

    def __init__(self, engine: Engine) -> None:
        """Count from now on, for as long as the engine lives."""
        self.count = 0
        event.listen(engine, "begin", self._begin)
        event.listen(engine, "checkin", self._end)

    def _begin(self, connection: Connection) -> None:
        if _WRITER_OPTION in connection.get_execution_options():
            connection.info[_WRITES] = True

    def _end(self, _: Any, record: Any) -> None:
        if record.info.pop(_WRITES, False):
            self.count += 1
