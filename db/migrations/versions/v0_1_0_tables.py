"""The tables of 0.1.0."""

import sqlalchemy as sa
from alembic import op

revision = "0.1.0"
down_revision = None


def upgrade() -> None:
    _create_nas_studies()
    _create_leases()
    _create_architectures()
    _create_latencies()
    _create_trainings()
    _create_retimings()
    _create_fronts()
    _create_front_members()
    _create_final_trainings()
    _create_final_fronts()
    _create_final_front_members()
    _create_exports()


def _create_nas_studies() -> None:
    op.create_table(
        "nas_studies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("space_module", sa.Text, nullable=False),
        sa.Column("scale", sa.Text, nullable=False),
        sa.Column("mixers", sa.Text, nullable=False),
        sa.Column("space_hash", sa.Text, nullable=False),
        sa.Column("objectives", sa.JSON, nullable=False),
        sa.Column("reference_top1", sa.Float(53), nullable=False),
        sa.Column("reference_cost", sa.Float(53), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("data_location", sa.Text, nullable=False),
        sa.Column("data_fingerprint", sa.Text, nullable=False),
        sa.Column("data_facts", sa.JSON),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("target", sa.JSON),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("device", sa.String(16), nullable=False),
        sa.Column("artifacts", sa.Text, nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nas_studies"),
        sa.UniqueConstraint("name", name="uq_nas_studies_name"),
        sa.UniqueConstraint("uid", name="uq_nas_studies_uid"),
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("study", sa.String(512), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("start_time_s", sa.Float(53), nullable=False),
        sa.Column("heartbeat", sa.DateTime, nullable=False),
        sa.Column("ray_processes", sa.JSON, nullable=False),
        sa.Column("ray_session", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("study", name="pk_leases"),
    )


def _create_architectures() -> None:
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


def _create_latencies() -> None:
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
        sa.ForeignKeyConstraint(["architecture_id"], ["architectures.id"], name="fk_latencies_architecture_id"),
        sa.PrimaryKeyConstraint("id", name="pk_latencies"),
    )
    op.create_index("ix_latencies_architecture_id", "latencies", ["architecture_id"])


def _create_trainings() -> None:
    op.create_table(
        "trainings",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
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
        sa.Column("weights_sha256", sa.String(64)),
        sa.Column("recorded", sa.DateTime, nullable=False),
        sa.ForeignKeyConstraint(["architecture_id"], ["architectures.id"], name="fk_trainings_architecture_id"),
        sa.ForeignKeyConstraint(["latency_id"], ["latencies.id"], name="fk_trainings_latency_id"),
        sa.ForeignKeyConstraint(["study_id"], ["nas_studies.id"], name="fk_trainings_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_trainings"),
        sa.UniqueConstraint("study_id", "trial_number", name="uq_trainings_study_id"),
    )
    op.create_index("ix_trainings_architecture_id", "trainings", ["architecture_id"])


def _create_retimings() -> None:
    op.create_table(
        "retimings",
        sa.Column("latency_id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("training_id", sa.Integer, nullable=False),
        sa.Column("sitting", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["latency_id"], ["latencies.id"], name="fk_retimings_latency_id"),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_retimings_training_id"),
        sa.PrimaryKeyConstraint("latency_id", name="pk_retimings"),
        sa.UniqueConstraint("training_id", "sitting", name="uq_retimings_training_id"),
    )


def _create_fronts() -> None:
    op.create_table(
        "fronts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("reference_top1", sa.Float(53), nullable=False),
        sa.Column("reference_cost", sa.Float(53), nullable=False),
        sa.Column("hypervolume", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["nas_studies.id"], name="fk_fronts_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_fronts"),
        sa.UniqueConstraint("study_id", "version", name="uq_fronts_study_id"),
    )


def _create_front_members() -> None:
    op.create_table(
        "front_members",
        sa.Column("front_id", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("training_id", sa.Integer, nullable=False),
        sa.Column("latency_id", sa.Integer),
        sa.Column("top1", sa.Float(53), nullable=False),
        sa.Column("cost", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["front_id"], ["fronts.id"], name="fk_front_members_front_id"),
        sa.ForeignKeyConstraint(["latency_id"], ["latencies.id"], name="fk_front_members_latency_id"),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_front_members_training_id"),
        sa.PrimaryKeyConstraint("front_id", "position", name="pk_front_members"),
    )


def _create_final_trainings() -> None:
    op.create_table(
        "final_trainings",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("training_id", sa.Integer, nullable=False),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("recipe_hash", sa.String(64), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("top1", sa.Float(53)),
        sa.Column("test_top1", sa.Float(53)),
        sa.Column("curve", sa.JSON, nullable=False),
        sa.Column("duration_s", sa.Float(53), nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("weights_path", sa.Text),
        sa.Column("weights_sha256", sa.String(64)),
        sa.Column("recorded", sa.DateTime, nullable=False),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_final_trainings_training_id"),
        sa.PrimaryKeyConstraint("id", name="pk_final_trainings"),
        sa.UniqueConstraint("training_id", "recipe_hash", "seed", name="uq_final_trainings_training_id"),
    )


def _create_final_fronts() -> None:
    op.create_table(
        "final_fronts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("split", sa.String(16), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["nas_studies.id"], name="fk_final_fronts_study_id"),
        sa.PrimaryKeyConstraint("id", name="pk_final_fronts"),
        sa.UniqueConstraint("study_id", "version", name="uq_final_fronts_study_id"),
    )


def _create_final_front_members() -> None:
    op.create_table(
        "final_front_members",
        sa.Column("final_front_id", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("training_id", sa.Integer, nullable=False),
        sa.Column("recipe_hash", sa.String(64), nullable=False),
        sa.Column("seeds", sa.JSON, nullable=False),
        sa.Column("top1", sa.Float(53), nullable=False),
        sa.Column("top1_std", sa.Float(53), nullable=False),
        sa.Column("top1_low", sa.Float(53), nullable=False),
        sa.Column("top1_high", sa.Float(53), nullable=False),
        sa.Column("cost", sa.Float(53), nullable=False),
        sa.Column("cost_low", sa.Float(53), nullable=False),
        sa.Column("cost_high", sa.Float(53), nullable=False),
        sa.Column("on_front", sa.Boolean, nullable=False),
        sa.Column("front_probability", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["final_front_id"], ["final_fronts.id"], name="fk_final_front_members_final_front_id"),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_final_front_members_training_id"),
        sa.PrimaryKeyConstraint("final_front_id", "position", name="pk_final_front_members"),
    )


def _create_exports() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("training_id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("exported", sa.DateTime, nullable=False),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_exports_training_id"),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
    )
    op.create_index("ix_exports_training_id", "exports", ["training_id"])
