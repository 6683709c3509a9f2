"""The tables of the service, made by who needs them: a database that only searches use never has them, and its version
stays what it is.

Units are in the column names. Times are UTC. A later change of these tables adds its migration here.
"""

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, Column, Engine, ForeignKey, Integer, MetaData, String, Table, Text

from db import tables
from db.engine import writing
from db.errors import translated_errors
from db.tables import UtcDateTime
from nas.errors import InvalidInputError

SERVICE_VERSION = "1"
_ADVISORY_LOCK = 0x6E617365
"""Any number will do that db.schema does not use."""

metadata = MetaData(naming_convention=tables.metadata.naming_convention)

version = Table("service_version", metadata, Column("version", String(16), primary_key=True))

# One row per study that was submitted: continuing and extending change it. revision counts its changes.
submissions = Table(
    "service_submissions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study", String(512), nullable=False, unique=True),
    Column("owner", String(128), nullable=False),
    Column("options", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("after_stop", String(16)),
    Column("created", UtcDateTime, nullable=False),
    Column("queued", UtcDateTime, nullable=False),
    Column("started", UtcDateTime),
    Column("ended", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("evaluated_before", Integer, nullable=False),
    Column("exit_line", Text),
    Column("gpus", JSON, nullable=False),
    Column("revision", BigInteger, nullable=False),
)

jobs = Table(
    "service_jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("study", String(512), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("options", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("entry", Text),
    Column("message", Text),
    Column("created", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime),
)

# A token itself is known to its owner only.
tokens = Table(
    "service_tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(128), nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("created", UtcDateTime, nullable=False),
    Column("revoked", UtcDateTime),
)

sessions = Table(
    "service_sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("token_id", ForeignKey("service_tokens.id"), nullable=False),
    Column("expires", UtcDateTime, nullable=False),
)


def ensure_service_tables(engine: Engine) -> None:
    """Make the tables where they are missing.

    Args:
        engine: of db.engine.make_engine, of a database that db.look has found usable.

    Raises:
        InvalidInputError: if they are of another version.
        NasError: if the database fails; it is then as it was before.
    """
    with translated_errors(engine.url, opening=True), writing(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        metadata.create_all(connection)
        found = connection.scalar(sa.select(version.c.version))
        if found is None:
            connection.execute(sa.insert(version), {"version": SERVICE_VERSION})
    if found not in (None, SERVICE_VERSION):
        raise InvalidInputError(
            f"the tables of the service are of version {found}, this code knows {SERVICE_VERSION}: update it, or name "
            "another database (--storage)"
        )
