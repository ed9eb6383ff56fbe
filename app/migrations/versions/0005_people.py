"""People: subscribers, their tags, suppressions, the ledger of consent, and whom a batch leaves out."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_subscribers()
    _create_suppressions()
    _create_consent_events()
    op.create_table(
        "marketing_sends",
        sa.Column("phone", sa.String(length=16), nullable=False),
        sa.Column("batch_id", _BIG_ID, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("phone", "batch_id", name=op.f("pk_marketing_sends")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_marketing_sends_at", "marketing_sends", ["at"])
    op.add_column("batches", sa.Column("picked", sa.JSON(), nullable=True))
    op.add_column("batches", sa.Column("withheld", sa.String(length=24), nullable=True))
    op.add_column("broadcasts", sa.Column("audience", sa.JSON(), nullable=True))
    op.add_column("broadcasts", sa.Column("tag", sa.String(length=64), nullable=True))
    op.add_column(
        "broadcasts",
        sa.Column("resolving", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column("broadcasts", sa.Column("resolved_to", sa.String(length=16), nullable=True))
    op.add_column("broadcasts", sa.Column("texts", sa.JSON(), nullable=True))
    op.add_column("chunks", sa.Column("language", sa.String(length=16), nullable=True))
    op.add_column("chunks", sa.Column("withheld", sa.String(length=24), nullable=True))


def _create_subscribers() -> None:
    op.create_table(
        "subscribers",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("public_id", sa.String(length=26), nullable=False),
        sa.Column("phone", sa.String(length=16), nullable=False),
        sa.Column("first_name", sa.String(length=100), nullable=True),
        sa.Column("last_name", sa.String(length=100), nullable=True),
        sa.Column("language", sa.String(length=16), nullable=True),
        sa.Column("time_zone", sa.String(length=64), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("consented_at", _TIME, nullable=True),
        sa.Column("subscribed_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscribers")),
        sa.UniqueConstraint("phone", name=op.f("uq_subscribers_phone")),
        sa.UniqueConstraint("public_id", name=op.f("uq_subscribers_public_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tags",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("double_opt_in", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("name", name=op.f("uq_tags_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "subscriber_tags",
        sa.Column("tag_id", _BIG_ID, nullable=False),
        sa.Column("subscriber_id", _BIG_ID, nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("asked_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscribers.id"],
            name=op.f("fk_subscriber_tags_subscriber_id"),
        ),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name=op.f("fk_subscriber_tags_tag_id")),
        sa.PrimaryKeyConstraint("tag_id", "subscriber_id", name=op.f("pk_subscriber_tags")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_subscriber_tags_subscriber", "subscriber_tags", ["subscriber_id"])
    op.create_index(
        "ix_subscriber_tags_unconfirmed",
        "subscriber_tags",
        ["subscriber_id", "tag_id"],
        sqlite_where=sa.text("confirmed = 0"),
        postgresql_where=sa.text("confirmed = false"),
    )


def _create_suppressions() -> None:
    op.create_table(
        "suppressions",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("public_id", sa.String(length=26), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("phone", sa.String(length=16), nullable=True),
        sa.Column("scope", sa.String(length=24), nullable=False),
        sa.Column("cause", sa.String(length=24), nullable=False),
        sa.Column("to_review", sa.Boolean(), nullable=False),
        sa.Column("since_at", _TIME, nullable=False),
        sa.Column("released_at", _TIME, nullable=True),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=True),
        sa.Column("inbound", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppressions")),
        sa.UniqueConstraint("digest", name=op.f("uq_suppressions_digest")),
        sa.UniqueConstraint("public_id", name=op.f("uq_suppressions_public_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_suppressions_active",
        "suppressions",
        ["phone", "scope"],
        sqlite_where=sa.text("released_at IS NULL"),
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_index(
        "ix_suppressions_nameless",
        "suppressions",
        ["digest"],
        sqlite_where=sa.text("phone IS NULL"),
        postgresql_where=sa.text("phone IS NULL"),
    )
    op.create_index(
        "ix_suppressions_to_review",
        "suppressions",
        ["id"],
        sqlite_where=sa.text("to_review = 1"),
        postgresql_where=sa.text("to_review = true"),
    )


def _create_consent_events() -> None:
    op.create_table(
        "consent_events",
        sa.Column("id", _BIG_ID, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("phone", sa.String(length=16), nullable=True),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("commitment", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_events")),
    )
    op.create_index("ix_consent_events_phone", "consent_events", ["phone", "id"])
    for statement in _GUARDS[op.get_bind().dialect.name]:
        op.execute(statement)


# A link may lose what it says of a person, and nothing else ever changes.
_CHANGED = (
    "NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.at <> OLD.at "
    "OR NEW.commitment <> OLD.commitment OR NEW.hash <> OLD.hash "
    "OR NEW.phone IS NOT NULL OR NEW.salt IS NOT NULL OR NEW.content IS NOT NULL"
)
_REFUSAL = "the ledger of consent only grows"
_GUARDS = {
    "sqlite": (
        "CREATE TRIGGER consent_events_stay BEFORE DELETE ON consent_events "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
        f"CREATE TRIGGER consent_events_kept BEFORE UPDATE ON consent_events WHEN {_CHANGED} "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION keep_consent_events() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$",
        "CREATE TRIGGER consent_events_stay BEFORE DELETE ON consent_events "
        "FOR EACH ROW EXECUTE FUNCTION keep_consent_events()",
        "CREATE TRIGGER consent_events_kept BEFORE UPDATE ON consent_events "
        f"FOR EACH ROW WHEN ({_CHANGED}) EXECUTE FUNCTION keep_consent_events()",
    ),
}


def downgrade() -> None:
    for table, columns in (
        ("chunks", ("withheld", "language")),
        ("broadcasts", ("texts", "resolved_to", "resolving", "tag", "audience")),
        ("batches", ("withheld", "picked")),
    ):
        for column in columns:
            op.drop_column(table, column)
    for table in (
        "marketing_sends",
        "consent_events",
        "suppressions",
        "subscriber_tags",
        "tags",
        "subscribers",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION keep_consent_events()")
