"""Takes a study out of the database: the only place where facts are deleted, on an owner's explicit word."""

import sqlalchemy as sa
from sqlalchemy import Engine

from db.engine import writing
from db.errors import translated_errors
from db.tables import (
    architectures,
    exports,
    final_front_members,
    final_fronts,
    final_trainings,
    front_members,
    fronts,
    latencies,
    leases,
    retimings,
    studies,
    trainings,
)


def remove_study(engine: Engine, study: str) -> None:
    """Delete every row of a study, and the architectures that no other study has, in one transaction.

    Args:
        engine: of db.engine.make_engine.
        study: its name; nothing happens for an unknown one.

    Raises:
        NasError: if the database fails; it is then as it was before.
    """
    study_id = sa.select(studies.c.id).where(studies.c.name == study).scalar_subquery()
    own = sa.select(trainings.c.id).where(trainings.c.study_id == study_id)
    own_fronts = sa.select(fronts.c.id).where(fronts.c.study_id == study_id)
    own_final_fronts = sa.select(final_fronts.c.id).where(final_fronts.c.study_id == study_id)
    with translated_errors(engine.url), writing(engine).begin() as connection:
        used = sa.select(trainings.c.architecture_id)
        of_study = connection.scalars(used.where(trainings.c.study_id == study_id).distinct()).all()
        for statement in (
            sa.delete(front_members).where(front_members.c.front_id.in_(own_fronts)),
            sa.delete(fronts).where(fronts.c.study_id == study_id),
            sa.delete(final_front_members).where(final_front_members.c.final_front_id.in_(own_final_fronts)),
            sa.delete(final_fronts).where(final_fronts.c.study_id == study_id),
            sa.delete(final_trainings).where(final_trainings.c.training_id.in_(own)),
            sa.delete(retimings).where(retimings.c.training_id.in_(own)),
            sa.delete(exports).where(exports.c.training_id.in_(own)),
            sa.delete(trainings).where(trainings.c.study_id == study_id),
            sa.delete(studies).where(studies.c.name == study),
            sa.delete(leases).where(leases.c.study == study),
        ):
            connection.execute(statement)
        others = set(connection.scalars(used.distinct()))
        orphans = [key for key in of_study if key not in others]
        for begin in range(0, len(orphans), 500):
            part = orphans[begin : begin + 500]
            connection.execute(sa.delete(latencies).where(latencies.c.architecture_id.in_(part)))
            connection.execute(sa.delete(architectures).where(architectures.c.id.in_(part)))
