"""Templates belong to clients; the list of a client's broadcasts has an index.

A template belongs to the client that wrote its first version.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_FIRST_CLIENT = (
    "SELECT client FROM template_versions AS v WHERE v.template_id = templates.id "
    "ORDER BY v.version LIMIT 1"
)


def upgrade() -> None:
    op.create_index("ix_broadcasts_client", "broadcasts", ["client", "id"])
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(
            sa.Column("client", sa.String(length=64), server_default="", nullable=False),
            unique=("client", "name"),
            client=f"coalesce(({_FIRST_CLIENT}), '')",
        )
        return
    client = sa.Column("client", sa.String(length=64), server_default="", nullable=False)
    op.add_column("templates", client)
    op.execute(f"UPDATE templates SET client = coalesce(({_FIRST_CLIENT}), '')")  # noqa: S608
    op.drop_constraint("uq_templates_name", "templates")
    op.create_unique_constraint("uq_templates_client_name", "templates", ["client", "name"])


def downgrade() -> None:
    op.drop_index("ix_broadcasts_client", "broadcasts")
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(unique=("name",))
        return
    op.drop_constraint("uq_templates_client_name", "templates")
    op.create_unique_constraint("uq_templates_name", "templates", ["name"])
    op.drop_column("templates", "client")


def _rebuild(*columns: "sa.Column[str]", unique: tuple[str, ...], client: str = "") -> None:
    """Copy both tables: SQLite drops neither a constraint nor a table that others refer to."""
    op.create_table(
        "new_templates",
        sa.Column("id", _BIG, nullable=False),
        *columns,
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("archived_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_templates")),
        sa.UniqueConstraint(*unique, name=op.f(f"uq_templates_{'_'.join(unique)}")),
    )
    names = "id, name, version, archived_at"
    to, of = (f"{names}, client", f"{names}, {client}") if client else (names, names)
    op.execute(f"INSERT INTO new_templates ({to}) SELECT {of} FROM templates")  # noqa: S608
    op.create_table(
        "new_template_versions",
        sa.Column("template_id", _BIG, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("texts", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("default_language", sa.String(length=16), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["template_id"],
            ["new_templates.id"],
            name=op.f("fk_template_versions_template_id"),
        ),
        sa.PrimaryKeyConstraint("template_id", "version", name=op.f("pk_template_versions")),
    )
    names = "template_id, version, texts, default_language, created_at, client"
    op.execute(
        f"INSERT INTO new_template_versions ({names}) SELECT {names} FROM template_versions"  # noqa: S608
    )
    op.drop_table("template_versions")
    op.drop_table("templates")
    op.rename_table("new_templates", "templates")
    op.rename_table("new_template_versions", "template_versions")
