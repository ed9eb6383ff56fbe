"""Delivery of large broadcasts: messages by country and by time; the draft of a broadcast."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "country_counts",
        sa.Column("broadcast_id", _BIG_ID, autoincrement=False, nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "broadcast_id", "country", "status", name=op.f("pk_country_counts")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "delivery_slots",
        sa.Column("broadcast_id", _BIG_ID, autoincrement=False, nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("broadcast_id", "slot", name=op.f("pk_delivery_slots")),
        sqlite_with_rowid=False,
    )
    op.add_column("batches", sa.Column("delivery_contribution", _JSON, nullable=True))
    sent = sa.text("broadcast_id IS NOT NULL")
    op.create_index(
        "ix_drafts_broadcast",
        "drafts",
        ["broadcast_id"],
        sqlite_where=sent,
        postgresql_where=sent,
    )


def downgrade() -> None:
    op.drop_index("ix_drafts_broadcast", "drafts")
    op.drop_column("batches", "delivery_contribution")
    op.drop_table("delivery_slots")
    op.drop_table("country_counts")
