"""What an approval is of: the text and people of a draft; and approvals of sending again."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("drafts", sa.Column("approved_text", sa.String(64), nullable=True))
    op.add_column("drafts", sa.Column("approved_people", sa.Integer(), nullable=True))
    op.create_table(
        "resend_approvals",
        sa.Column("broadcast_id", _BIG_ID, autoincrement=False, nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_by", sa.String(60), nullable=False),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_by", sa.String(60), nullable=True),
        sa.PrimaryKeyConstraint("broadcast_id", name="pk_resend_approvals"),
    )


def downgrade() -> None:
    op.drop_table("resend_approvals")
    op.drop_column("drafts", "approved_people")
    op.drop_column("drafts", "approved_text")
