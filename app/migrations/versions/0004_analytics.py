"""Analytics: messages and texts from phones, summed up by day."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "daily_counts",
        *_place(),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day",
            "client",
            "tag",
            "sender",
            "country",
            "status",
            "code",
            name=op.f("pk_daily_counts"),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "daily_delays",
        *_place(),
        sa.Column("delays", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "client", "tag", "sender", "country", name=op.f("pk_daily_delays")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "daily_inbounds",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("inbounds", sa.Integer(), nullable=False),
        sa.Column("opt_outs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "client", name=op.f("pk_daily_inbounds")),
        sqlite_with_rowid=False,
    )


def _place() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column("sender", sa.String(length=16), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
    )


def downgrade() -> None:
    for table in ("daily_inbounds", "daily_delays", "daily_counts"):
        op.drop_table(table)
    # What a batch has added is gone with them.
    op.execute("UPDATE batches SET changed = true WHERE counted IS NOT NULL")
    op.execute("UPDATE batches SET counted = NULL WHERE counted IS NOT NULL")
    op.execute("DELETE FROM facts WHERE name IN ('rolled_up', 'rolled_up_inbounds')")
