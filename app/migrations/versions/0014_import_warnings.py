"""Rows of an import that were taken with a warning, and how many have a landline."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    landlines = sa.Column("landlines", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.add_column("imports", landlines)
    op.add_column(
        "import_refusals",
        sa.Column("is_warning", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("import_refusals", "is_warning")
    op.drop_column("imports", "landlines")
