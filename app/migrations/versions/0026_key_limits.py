"""Limits of one key: its countries, its caps, and which key made a broadcast."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COUNTRIES = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("countries", _COUNTRIES, nullable=True))
    op.add_column("api_keys", sa.Column("origin_id", _BIG_ID, nullable=True))
    op.add_column("broadcasts", sa.Column("key_id", _BIG_ID, nullable=True))
    op.add_column("broadcasts", sa.Column("countries", _COUNTRIES, nullable=True))


def downgrade() -> None:
    for table, column in (
        ("broadcasts", "countries"),
        ("broadcasts", "key_id"),
        ("api_keys", "origin_id"),
        ("api_keys", "countries"),
    ):
        op.drop_column(table, column)
