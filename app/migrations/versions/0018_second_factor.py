"""Second factors of users, their recovery codes, and sign-ins that await a code."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_DIGEST = sa.LargeBinary(32)


def upgrade() -> None:
    op.add_column("users", sa.Column("factor_seed", sa.LargeBinary(20), nullable=True))
    op.add_column("users", sa.Column("factor_step", sa.BigInteger(), nullable=True))
    op.create_table(
        "half_sign_ins",
        sa.Column("token_hash", _DIGEST, nullable=False),
        sa.Column("user_id", _BIG_ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_half_sign_ins_user_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_half_sign_ins")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_half_sign_ins_user_id", "half_sign_ins", ["user_id"])
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", _BIG_ID, nullable=False),
        sa.Column("code_hash", _DIGEST, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id")),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name=op.f("pk_recovery_codes")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("recovery_codes", "half_sign_ins"):
        op.drop_table(table)
    op.drop_column("users", "factor_step")
    op.drop_column("users", "factor_seed")
