"""Names searched by their beginning; the name of an import's file, and the user who brought it."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


_NAMES = {
    "ix_subscribers_first_name": ("first_name", "last_name"),
    "ix_subscribers_last_name": ("last_name", "first_name"),
}


def upgrade() -> None:
    # Compared byte by byte, so that every name with a beginning is in one range of the index.
    collation = ' COLLATE "C"' if op.get_bind().dialect.name == "postgresql" else ""
    for index, (one, other) in _NAMES.items():
        name = f"lower(coalesce({one}, '') || ' ' || coalesce({other}, ''))"
        op.execute(f"CREATE INDEX {index} ON subscribers (({name}{collation}))")
    op.add_column("imports", sa.Column("file_name", sa.String(200), nullable=True))
    op.add_column("imports", sa.Column("created_by", sa.String(128), nullable=True))


def downgrade() -> None:
    op.drop_column("imports", "created_by")
    op.drop_column("imports", "file_name")
    for index in _NAMES:
        op.drop_index(index, "subscribers")
