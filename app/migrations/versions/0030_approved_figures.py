"""What a draft, and sending again, comes to as a user asked for its approval."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

# The column of each table.
_COLUMNS = {"drafts": "approved_figures", "resend_approvals": "figures"}


def upgrade() -> None:
    for table, name in _COLUMNS.items():
        op.add_column(table, sa.Column(name, sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    for table, name in _COLUMNS.items():
        op.drop_column(table, name)
