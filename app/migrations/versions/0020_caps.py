"""Caps on what clients send."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "caps",
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("period", sa.String(24), nullable=False),
        sa.Column("unit", sa.String(24), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("neared_in", _TIME, nullable=True),
        sa.Column("reached_in", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("client", "period", "unit", name=op.f("pk_caps")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cap_counters",
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("period", sa.String(24), nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client", "period", name=op.f("pk_cap_counters")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cap_uses",
        sa.Column("batch_id", _BIG_ID, autoincrement=False, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_cap_uses")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("cap_uses", "cap_counters", "caps"):
        op.drop_table(table)
