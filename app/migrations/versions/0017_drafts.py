"""Drafts of broadcasts, who made a broadcast, and users' own numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "drafts",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("public_id", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=64), nullable=False),
        sa.Column("body", _JSON, nullable=False),
        sa.Column("numbers", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("created_by", sa.String(length=60), nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.Column("changed_by", sa.String(length=60), nullable=False),
        sa.Column("asked_at", _TIME, nullable=True),
        sa.Column("asked_by", sa.String(length=60), nullable=True),
        sa.Column("approved_at", _TIME, nullable=True),
        sa.Column("approved_by", sa.String(length=60), nullable=True),
        sa.Column("broadcast_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drafts")),
        sa.UniqueConstraint("public_id", name=op.f("uq_drafts_public_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_drafts_changed_at", "drafts", ["changed_at"])
    op.add_column("broadcasts", sa.Column("created_by", sa.String(length=60), nullable=True))
    op.add_column("users", sa.Column("phone", sa.String(length=16), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "phone")
    op.drop_column("broadcasts", "created_by")
    op.drop_table("drafts")
