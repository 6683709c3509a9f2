"""The tables (DESIGN 4). Optuna's own stand beside them in the same database; no name is used twice.

Units are in the column names. Times are UTC. Durations are seconds of a monotonic clock. top1 is a fraction in [0, 1].
A change here needs a migration in db/migrations/versions; a test compares the two.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC without an offset: SQLite keeps none, and PostgreSQL would show the session's
    zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


# DOUBLE PRECISION on PostgreSQL and REAL on SQLite: both keep a Python float bit by bit.
_Float = Float(53)

studies = Table(
    "nas_studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(512), nullable=False, unique=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("space", Text, nullable=False),
    Column("space_module", Text, nullable=False),
    Column("scale", Text, nullable=False),
    Column("mixers", Text, nullable=False),
    Column("space_hash", Text, nullable=False),
    Column("objectives", JSON, nullable=False),
    Column("reference_top1", _Float, nullable=False),
    Column("reference_cost", _Float, nullable=False),
    Column("data", Text, nullable=False),
    Column("data_location", Text, nullable=False),
    Column("data_fingerprint", Text, nullable=False),
    Column("data_facts", JSON(none_as_null=True)),
    Column("recipe", JSON, nullable=False),
    Column("target", JSON(none_as_null=True)),
    Column("limits", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("device", String(16), nullable=False),
    Column("artifacts", Text, nullable=False),
    Column("config", JSON, nullable=False),
    Column("code_version", Text, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

# By study name and without a foreign key: a coordinator may take the lease before it creates the study.
leases = Table(
    "leases",
    metadata,
    Column("study", String(512), primary_key=True),
    Column("host", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("token", String(32), nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("start_time_s", _Float, nullable=False),
    Column("heartbeat", UtcDateTime, nullable=False),
    Column("ray_processes", JSON, nullable=False),
    Column("ray_session", Text, nullable=False),
)

# One row per architecture as it was described. Another code version may describe the same arch_hash in other words or
# count its costs in another way: that is another row, so that the facts of older trials stay what they were.
architectures = Table(
    "architectures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("arch_hash", String(64), nullable=False, index=True),
    Column("space", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("layout", Text, nullable=False),
    Column("param_count", BigInteger, nullable=False),
    Column("macs", BigInteger, nullable=False),
)

latencies = Table(
    "latencies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("architecture_id", ForeignKey("architectures.id"), nullable=False, index=True),
    Column("target", JSON, nullable=False),
    Column("conditions", JSON, nullable=False),
    Column("median_ms", _Float, nullable=False),
    Column("ci_low_ms", _Float, nullable=False),
    Column("ci_high_ms", _Float, nullable=False),
    Column("p95_ms", _Float, nullable=False),
    Column("samples", BigInteger, nullable=False),
    Column("recorded", UtcDateTime, nullable=False),
)

# One row per trial, whatever its outcome: REJECTED and FAIL are remembered too. rung, steps, top1 and loss are those of
# the last rung reached (NULL without one); curve holds every rung.
trainings = Table(
    "trainings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("nas_studies.id"), nullable=False),
    Column("trial_number", Integer, nullable=False),
    Column("architecture_id", ForeignKey("architectures.id"), nullable=False, index=True),
    Column("latency_id", ForeignKey("latencies.id")),
    Column("data_fingerprint", Text, nullable=False),
    Column("recipe_hash", String(64), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("rung", Integer),
    Column("steps", BigInteger),
    Column("top1", _Float),
    Column("loss", _Float),
    Column("curve", JSON, nullable=False),
    Column("duration_s", _Float, nullable=False),
    Column("device", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("weights_path", Text),
    Column("weights_sha256", String(64)),
    Column("recorded", UtcDateTime, nullable=False),
    UniqueConstraint("study_id", "trial_number"),
)

# The members of a front, timed once more when a search ended: rows of one sitting (1, 2, ... within the study) were
# timed together and on one target. These latencies stand beside the facts: no trial was told with one, and no front
# rests on one.
retimings = Table(
    "retimings",
    metadata,
    Column("latency_id", ForeignKey("latencies.id"), primary_key=True, autoincrement=False),
    Column("training_id", ForeignKey("trainings.id"), nullable=False),
    Column("sitting", Integer, nullable=False),
    UniqueConstraint("training_id", "sitting"),
)

fronts = Table(
    "fronts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("nas_studies.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("reference_top1", _Float, nullable=False),
    Column("reference_cost", _Float, nullable=False),
    Column("hypervolume", _Float, nullable=False),
    UniqueConstraint("study_id", "version"),
)

# The numbers are the snapshot's, the rows are what they rest on; SqlStore.check_fronts proves that they agree.
front_members = Table(
    "front_members",
    metadata,
    Column("front_id", ForeignKey("fronts.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("training_id", ForeignKey("trainings.id"), nullable=False),
    Column("latency_id", ForeignKey("latencies.id")),
    Column("top1", _Float, nullable=False),
    Column("cost", _Float, nullable=False),
)

# Full trainings of front members. training_id is the trial's row, whose architecture and latency they share.
final_trainings = Table(
    "final_trainings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("training_id", ForeignKey("trainings.id"), nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("recipe_hash", String(64), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("top1", _Float),
    Column("test_top1", _Float),
    Column("curve", JSON, nullable=False),
    Column("duration_s", _Float, nullable=False),
    Column("device", Text, nullable=False),
    Column("weights_path", Text),
    Column("weights_sha256", String(64)),
    Column("recorded", UtcDateTime, nullable=False),
    UniqueConstraint("training_id", "recipe_hash", "seed"),
)

final_fronts = Table(
    "final_fronts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("nas_studies.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("split", String(16), nullable=False),
    UniqueConstraint("study_id", "version"),
)

# Finalists that are not on the front too, for their probability. They rest on the final trainings of (training_id,
# recipe_hash, seeds).
final_front_members = Table(
    "final_front_members",
    metadata,
    Column("final_front_id", ForeignKey("final_fronts.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("training_id", ForeignKey("trainings.id"), nullable=False),
    Column("recipe_hash", String(64), nullable=False),
    Column("seeds", JSON, nullable=False),
    Column("top1", _Float, nullable=False),
    Column("top1_std", _Float, nullable=False),
    Column("top1_low", _Float, nullable=False),
    Column("top1_high", _Float, nullable=False),
    Column("cost", _Float, nullable=False),
    Column("cost_low", _Float, nullable=False),
    Column("cost_high", _Float, nullable=False),
    Column("on_front", Boolean, nullable=False),
    Column("front_probability", _Float, nullable=False),
)

exports = Table(
    "exports",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("training_id", ForeignKey("trainings.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("exported", UtcDateTime, nullable=False),
)
