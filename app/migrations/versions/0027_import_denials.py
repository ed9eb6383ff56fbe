"""Numbers that a row of an imported file denies texts or marketing."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "import_denials",
        sa.Column(
            "import_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("phone", sa.String(16), nullable=False),
        sa.Column("permission", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_denials_import_id")
        ),
        sa.PrimaryKeyConstraint("import_id", "phone", "permission", name=op.f("pk_import_denials")),
        sqlite_with_rowid=False,
    )
    op.add_column(
        "imports", sa.Column("lines_scanned", sa.Integer(), server_default="0", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("imports", "lines_scanned")
    op.drop_table("import_denials")
