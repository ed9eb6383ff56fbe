"""Imports of subscribers: the jobs, their files in pieces, and the rows they refuse."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_COUNTS = ("rows", "created", "updated", "unchanged", "merged", "refused")


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("public_id", sa.String(length=26), nullable=False),
        sa.Column("client", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("layout", sa.JSON(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("lines_done", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in _COUNTS),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.Column("upload", sa.String(length=26), nullable=True),
        sa.Column("lease", sa.String(length=26), nullable=True),
        sa.Column("leased_until", _TIME, nullable=True),
        sa.Column("stamp", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("phase_at", _TIME, nullable=True),
        sa.Column("finished_at", _TIME, nullable=True),
        sa.Column("forgotten_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
        sa.UniqueConstraint("public_id", name=op.f("uq_imports_public_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_imports_unfinished",
        "imports",
        ["id"],
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(
        "ix_imports_kept",
        "imports",
        ["id"],
        sqlite_where=sa.text("forgotten_at IS NULL"),
        postgresql_where=sa.text("forgotten_at IS NULL"),
    )
    op.create_table(
        "import_pieces",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("import_id", _BIG_ID, nullable=False),
        sa.Column("first_line", sa.Integer(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_pieces_import_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_pieces")),
        sa.UniqueConstraint(
            "import_id", "first_line", name=op.f("uq_import_pieces_import_id_first_line")
        ),
    )
    op.create_table(
        "import_refusals",
        sa.Column("import_id", _BIG_ID, nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=64), nullable=False),
        sa.Column("cell", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_refusals_import_id")
        ),
        sa.PrimaryKeyConstraint("import_id", "line", "position", name=op.f("pk_import_refusals")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("import_refusals", "import_pieces", "imports"):
        op.drop_table(table)
