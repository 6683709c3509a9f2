"""Entries of model zoos that were written from recorded trials. Works inside the caller's transaction."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from db.tables import exports, studies, trainings
from db.trials import training_keys
from nas.records import Export

_EXPORTS = (
    sa.select(trainings.c.trial_number, exports.c.name, exports.c.path, exports.c.exported)
    .select_from(exports.join(trainings).join(studies))
    .where(studies.c.name == sa.bindparam("study"))
    .order_by(exports.c.id)
)


def insert_export(connection: Connection, study_id: int, trial_number: int, name: str, path: str) -> None:
    """Add one; its trial is recorded already."""
    training_id = training_keys(connection, study_id, [trial_number])[trial_number].training_id
    values = {"training_id": training_id, "name": name, "path": path, "exported": datetime.now(UTC)}
    connection.execute(sa.insert(exports), values)


def select_exports(connection: Connection, study: str) -> list[Export]:
    """Every one, oldest first."""
    return [Export(*row) for row in connection.execute(_EXPORTS, {"study": study})]
