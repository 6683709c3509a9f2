"""Full trainings of front members, and final fronts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
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
        sa.Column("recorded", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_final_trainings"),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_final_trainings_training_id"),
        sa.UniqueConstraint("training_id", "recipe_hash", "seed", name="uq_final_trainings_training_id"),
    )
    op.create_table(
        "final_fronts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("search_id", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("split", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_final_fronts"),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name="fk_final_fronts_search_id"),
        sa.UniqueConstraint("search_id", "version", name="uq_final_fronts_search_id"),
    )
    op.create_table(
        "final_front_members",
        sa.Column("final_front_id", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
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
        sa.PrimaryKeyConstraint("final_front_id", "position", name="pk_final_front_members"),
        sa.ForeignKeyConstraint(["final_front_id"], ["final_fronts.id"], name="fk_final_front_members_final_front_id"),
        sa.ForeignKeyConstraint(["training_id"], ["trainings.id"], name="fk_final_front_members_training_id"),
    )
