"""Forms that were sent, and whose answer showed a secret once."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "used_forms",
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_used_forms"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_used_forms_used_at", "used_forms", ["used_at"])


def downgrade() -> None:
    op.drop_table("used_forms")
