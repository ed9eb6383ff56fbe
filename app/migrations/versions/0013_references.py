"""An index of broadcasts by the client's own reference."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INDEX = "ix_broadcasts_reference"


def upgrade() -> None:
    named = sa.text("reference IS NOT NULL")
    columns = ["reference", "client", "id"]
    op.create_index(_INDEX, "broadcasts", columns, sqlite_where=named, postgresql_where=named)


def downgrade() -> None:
    op.drop_index(_INDEX, "broadcasts")
