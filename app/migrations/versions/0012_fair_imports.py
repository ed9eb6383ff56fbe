"""Imports in turn: whose turn was last, how often a worker died of one, and its new tags."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    zero = sa.text("0")
    op.add_column("imports", sa.Column("turn", sa.Integer(), server_default=zero, nullable=False))
    op.add_column("imports", sa.Column("deaths", sa.Integer(), server_default=zero, nullable=False))
    op.add_column("imports", sa.Column("new_tags", sa.JSON(), nullable=True))


def downgrade() -> None:
    for name in ("new_tags", "deaths", "turn"):
        op.drop_column("imports", name)
