"""Brings a database to the tables of this code: a new one, or one that an older version wrote."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from db.engine import reading, writing
from db.errors import translated_errors
from db.tables import metadata
from nas.records import Schema

VERSION_TABLE = "nas_alembic_version"
"""Not alembic_version: that one is Optuna's, in the same database."""

SCHEMA_VERSION = "0.1.0"
"""The newest file in db/migrations/versions, so that an up-to-date database opens without reading them."""

FORGOTTEN_VERSIONS = ("0001", "0002", "0003")
"""Versions of revisions before 0.1.0, whose databases nothing reads any more."""

# Any number will do; it only must be the same in every process that migrates one PostgreSQL database.
_ADVISORY_LOCK = 0x6E617364


def ensure_schema(engine: Engine) -> None:
    """Create or upgrade our tables if they need it; when they are current, one query and nothing more.

    Args:
        engine: of db.engine.make_engine, of a database that db.look has found usable.

    Raises:
        InvalidInputError: if the database does not answer.
        NasError: if the upgrade fails; it is then as it was before.
    """
    with translated_errors(engine.url, opening=True), reading(engine).begin() as connection:
        version = schema_version(connection)
    if version == SCHEMA_VERSION:
        return
    with translated_errors(engine.url, opening=True), writing(engine).begin() as connection:
        _upgrade(connection)


def our_schema() -> Schema:
    """Our tables, as db.look compares them with what a database has."""
    return Schema(
        owner="this project",
        version_table=VERSION_TABLE,
        version=SCHEMA_VERSION,
        all_versions=_all_versions,
        columns={table.name: frozenset(table.columns.keys()) for table in metadata.sorted_tables},
        update="update it",
        indexes=_index_names(),
    )


def _index_names() -> frozenset[str]:
    names: set[str] = set()
    for table in metadata.sorted_tables:
        names |= {str(index.name) for index in table.indexes}
    return frozenset(names)


def _all_versions() -> Sequence[str]:
    with sa.create_engine("sqlite://").connect() as connection:
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    return [script.revision for script in scripts.walk_revisions()]


def schema_version(connection: Connection) -> str | None:
    """The version of our tables in this database; None without any."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return version


def alembic_config(connection: Connection) -> Config:
    """What alembic needs to work on our tables over this connection."""
    config = Config()
    config.set_main_option("script_location", "db:migrations")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Two processes that open one new database: the second waits here, then finds the work done. SQLite's write lock
        # does the same.
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    command.upgrade(alembic_config(connection), "head")
