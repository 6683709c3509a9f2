"""Alembic's environment: the connection comes from db.schema, inside its transaction."""

from alembic import context

from db.schema import VERSION_TABLE
from db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
