"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_study_tables()
    _create_fact_tables()
    _create_result_tables()


def _create_study_tables() -> None:
    op.create_table(
        "searches",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study", sa.String(512), nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("space_hash", sa.Text, nullable=False),
        sa.Column("objectives", sa.JSON, nullable=False),
        sa.Column("reference_top1", sa.Float(53), nullable=False),
        sa.Column("reference_cost", sa.Float(53), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("data_fingerprint", sa.Text, nullable=False),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("target", sa.JSON),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_searches"),
        sa.UniqueConstraint("study", name="uq_searches_study"),
    )
    op.create_table(
        "leases",
        sa.Column("study", sa.String(512), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("start_time_s", sa.Float(53), nullable=False),
        sa.Column("heartbeat", sa.DateTime, nullable=False),
        sa.Column("ray_processes", sa.JSON, nullable=False),
        sa.Column("ray_session", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("study", name="pk_leases"),
    )


def _create_fact_tables() -> None:
    op.create_table(
        "architectures",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("arch_hash", sa.String(64), nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("layout", sa.Text, nullable=False),
        sa.Column("param_count", sa.BigInteger, nullable=False),
        sa.Column("macs", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_architectures"),
    )
    op.create_index("ix_architectures_arch_hash", "architectures", ["arch_hash"])
    op.create_table(
        "latencies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("architecture_id", sa.Integer, nullable=False),
        sa.Column("target", sa.JSON, nullable=False),
        sa.Column("conditions", sa.JSON, nullable=False),
        sa.Column("median_ms", sa.Float(53), nullable=False),
        sa.Column("ci_low_ms", sa.Float(53), nullable=False),
        sa.Column("ci_high_ms", sa.Float(53), nullable=False),
        sa.Column("p95_ms", sa.Float(53), nullable=False),
        sa.Column("samples", sa.BigInteger, nullable=False),
        sa.Column("recorded", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_latencies"),
        sa.ForeignKeyConstraint(["architecture_id"], ["architectures.id"], name="fk_latencies_architecture_id"),
    )
    op.create_index("ix_latencies_architecture_id", "latencies", ["architecture_id"])
    op.create_table(
        "trainings",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("search_id", sa.Integer, nullable=False),
        sa.Column("trial_number", sa.Integer, nullable=False),
        sa.Column("architecture_id", sa.Integer, nullable=False),
        sa.Column("latency_id", sa.Integer),
        sa.Column("data_fingerprint", sa.Text, nullable=False),
        sa.Column("recipe_hash", sa.String(64), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("rung", sa.Integer),
        sa.Column("steps", sa.BigInteger),
        sa.Column("top1", sa.Float(53)),
        sa.Column("loss", sa.Float(53)),
        sa.Column("curve", sa.JSON, nullable=False),
        sa.Column("duration_s", sa.Float(53), nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("weights_path", sa.Text),
        sa.Column("recorded", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trainings"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_trainings_search_id"),
        sa.ForeignKeyConstraint(["architecture_id"], ["architectures.id"], name="fk_trainings_architecture_id"),
        sa.ForeignKeyConstraint(["latency_id"], ["latencies.id"], name="fk_trainings_latency_id"),
        sa.UniqueConstraint("search_id", "trial_number", name="uq_trainings_search_id"),
    )
    op.create_index("ix_trainings_architecture_id", "trainings", ["architecture_id"])


def _create_result_tables() -> None:
    op.create_table(
        "fronts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("search_id", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("reference_top1", sa.Float(53), nullable=False),
        sa.Column("reference_cost", sa.Float(53), nullable=False),
        sa.Column("hypervolume", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fronts"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_fronts_search_id"),
        sa.UniqueConstraint("search_id", "version", name="uq_fronts_search_id"),
    )
    op.create_table(
        "front_members",
        sa.Column("front_id", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("training_id", sa.Integer, nullable=False),
        sa.Column("latency_id", sa.Integer),
        sa.Column("top1", sa.Float(53), nullable=False),
        sa.Column("cost", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("front_id", "position", name="pk_front_members"),
        sa.ForeignKeyConstraint(["front_id"], ["fronts.id"], name="fk_front_members_front_id"),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_front_members_training_id"),
        sa.ForeignKeyConstraint(["latency_id"], ["latencies.id"], name="fk_front_members_latency_id"),
    )
    op.create_table(
        "exports",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("training_id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("exported", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_exports_training_id"),
    )
    op.create_index("ix_exports_training_id", "exports", ["training_id"])
