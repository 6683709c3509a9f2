"""Second timings of front members."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "retimings",
        sa.Column("latency_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("training_id", sa.Integer, nullable=False),
        sa.Column("sitting", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("latency_id", name="pk_retimings"),
        sa.ForeignKeyConstraint(["latency_id"], ["latencies.id"], name="fk_retimings_latency_id"),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_retimings_training_id"),
        sa.UniqueConstraint("training_id", "sitting", name="uq_retimings_training_id"),
    )
