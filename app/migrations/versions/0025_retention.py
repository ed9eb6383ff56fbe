"""Retention: whether the texts and numbers of a broadcast were deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_DUE = sa.text("all_reported_at IS NOT NULL AND is_purged = false")


def upgrade() -> None:
    op.add_column("broadcasts", sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "broadcasts",
        sa.Column("is_purged", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_index(
        "ix_broadcasts_to_purge",
        "broadcasts",
        ["all_reported_at"],
        sqlite_where=_DUE,
        postgresql_where=_DUE,
    )


def downgrade() -> None:
    op.drop_index("ix_broadcasts_to_purge", "broadcasts")
    op.drop_column("broadcasts", "is_purged")
    op.drop_column("broadcasts", "purged_at")
