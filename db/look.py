"""Looks at a database before anything is written into it: tables of other programs and versions are refused.

Every command opens its database through this, and what is refused is left as it was, to the byte.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from db import sqlite_file
from db.engine import make_engine, make_reading_engine, parse_url, reading, redact_url
from db.errors import translated_errors
from db.schema import FORGOTTEN_VERSIONS, VERSION_TABLE, our_schema
from db.tables import studies
from nas.errors import InvalidInputError
from nas.records import Schema

_ANYBODYS = "alembic_version"
"""The name that alembic gives a version table where a program chooses none."""
_ANOTHER = "name another database (--storage)"
_TABLES = {
    "sqlite": (
        "SELECT lower(t.name), lower(c.name) FROM sqlite_master t LEFT JOIN pragma_table_info(t.name) c "
        "WHERE lower(t.name) IN :names"
    ),
    "postgresql": (
        "SELECT t.relname, c.attname FROM pg_class t "
        "LEFT JOIN pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped "
        "WHERE pg_table_is_visible(t.oid) AND t.relname IN :names"
    ),
}
"""Names and columns of what stands under given names where our statements would find it."""

Found = Mapping[str, set[str]]
"""Table -> its columns."""


def look(url: str, beside: Sequence[Schema], *, create: bool) -> str | None:
    """The version of our tables in a database; None without any. Nothing is written.

    Args:
        url: of the database.
        beside: other programs whose tables share the database.
        create: whether what is missing is going to be made.

    Raises:
        InvalidInputError: if the database does not answer, or a table in it is of another program or of a version that
            cannot be used.
    """
    with _looking(url) as connection:
        if connection is None:
            return None
        ours = our_schema()
        found = _find(connection, [ours, *beside])
        place = redact_url(url)
        version = _judge(ours, connection, found, place)
        for schema in beside:
            _judge(schema, connection, found, place)
            if create and version == ours.version and _missing(schema, found) and _holds_studies(connection):
                raise _incomplete(schema, found, place)
    return version


def require_whole(url: str, schema: Schema) -> None:
    """Refuse a database that lacks a table of the program.

    Raises:
        InvalidInputError: if one is missing, or as `look`.
    """
    with _looking(url) as connection:
        found = {} if connection is None else _find(connection, [schema])
    if _missing(schema, found):
        raise _incomplete(schema, found, redact_url(url))


@contextmanager
def _looking(url: str) -> Iterator[Connection | None]:
    """A connection that writes nothing; None where there is no file yet."""
    parsed = parse_url(url)
    is_file = parsed.get_backend_name() == "sqlite"
    if is_file and not sqlite_file.exists(Path(str(parsed.database)), redact_url(url)):
        yield None
        return
    engine = make_reading_engine(url) if is_file else make_engine(url, create=False)
    try:
        with translated_errors(engine.url, opening=True), reading(engine).begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _find(connection: Connection, schemas: Sequence[Schema]) -> Found:
    names: list[str] = []
    for schema in schemas:
        names += [schema.version_table, *schema.columns, *schema.indexes]
    wanted = sa.text(_TABLES[connection.dialect.name]).bindparams(sa.bindparam("names", expanding=True))
    found: dict[str, set[str]] = {}
    for table, column in connection.execute(wanted, {"names": names}):
        found.setdefault(table, set()).add(column)
    return found


def _judge(schema: Schema, connection: Connection, found: Found, place: str) -> str | None:
    """The recorded version of the program's tables; None without any, or where their creation was cut off."""
    tables = schema.columns.keys() & found.keys()
    version = _recorded_version(schema, connection, found, place)
    is_older = version is not None and version != schema.version
    if is_older and version not in schema.all_versions():
        raise _unknown_version(schema, version, place, is_foreign=schema.version_table == _ANYBODYS and not tables)
    if is_older and schema.upgrade:
        raise InvalidInputError(
            f"the database {place} has {schema.owner}'s tables of version {version}, {schema.version} is needed: "
            f"{schema.upgrade.format(url=place)}, or {_ANOTHER}"
        )
    if is_older:
        return version
    for table in sorted(tables):
        lacking = sorted(schema.columns[table] - found[table])
        if lacking or (version is None and _is_ours(schema)):
            what = f"it lacks the column {lacking[0]!r}" if lacking else f"there is no {schema.version_table}"
            raise InvalidInputError(
                f"the database {place} has a table {table!r} that is not {schema.owner}'s, {what}: {_ANOTHER}"
            )
    if version is None and (indexes := sorted(schema.indexes & found.keys())):
        raise InvalidInputError(
            f"the database {place} has an index or a table {indexes[0]!r} that is not {schema.owner}'s: {_ANOTHER}"
        )
    if version is not None and _is_ours(schema) and _missing(schema, found):
        raise _incomplete(schema, found, place)
    return version


def _recorded_version(schema: Schema, connection: Connection, found: Found, place: str) -> str | None:
    if schema.version_table not in found:
        return None
    if "version_num" not in found[schema.version_table]:
        raise InvalidInputError(
            f"the database {place} has a table {schema.version_table!r} that is not {schema.owner}'s: {_ANOTHER}"
        )
    versions = connection.scalars(sa.text(f"SELECT version_num FROM {schema.version_table}")).all()
    if len(versions) > 1:
        raise InvalidInputError(
            f"the database {place} has {len(versions)} versions in {schema.version_table}, {schema.owner} writes one: "
            f"{_ANOTHER}"
        )
    return str(versions[0]) if versions else None


def _unknown_version(schema: Schema, version: str | None, place: str, *, is_foreign: bool) -> InvalidInputError:
    if is_foreign:
        return InvalidInputError(
            f"the database {place} belongs to another program: its {schema.version_table} says {version!r}, which is "
            f"no version of {schema.owner}'s tables; {_ANOTHER}"
        )
    if _is_ours(schema) and version in FORGOTTEN_VERSIONS:
        return InvalidInputError(
            f"the database {place} was written before version 0.1.0 and cannot be read: finish its studies with the "
            "revision that wrote it, or name another database (--storage)"
        )
    return InvalidInputError(
        f"the database {place} has {schema.owner}'s tables of version {version}, this code knows "
        f"{schema.version}: {schema.update}, or {_ANOTHER}"
    )


def _is_ours(schema: Schema) -> bool:
    return schema.version_table == VERSION_TABLE


def _missing(schema: Schema, found: Found) -> list[str]:
    return sorted(schema.columns.keys() - found.keys())


def _incomplete(schema: Schema, found: Found, place: str) -> InvalidInputError:
    return InvalidInputError(
        f"the database {place} lacks the table {_missing(schema, found)[0]!r} of {schema.owner}: restore a copy of it, "
        f"or {_ANOTHER}"
    )


def _holds_studies(connection: Connection) -> bool:
    return connection.execute(sa.select(studies.c.id)).first() is not None
