"""What became of every message: reports, tallies, inbounds, what clients are told."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    _widen_broadcasts()
    _widen_batches()
    for column in (
        sa.Column("status", sa.String(length=24), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("status_at", _TIME, nullable=True),
        sa.Column("noted_at", _TIME, nullable=True),
    ):
        op.add_column("messages", column)
    _index_where("ix_chunks_alone", "chunks", ["recipients"], "size = 1")
    _create_events()
    _create_tallies()
    _create_inbounds()
    _create_outbox()


def _widen_broadcasts() -> None:
    op.add_column("broadcasts", sa.Column("settled_at", _TIME, nullable=True))
    op.add_column("broadcasts", sa.Column("resend_of", _BIG, nullable=True))
    # A unique index, not a constraint: SQLite cannot add one to a table that is there.
    op.create_index("uq_broadcasts_resend_of", "broadcasts", ["resend_of"], unique=True)
    unsettled = "finished_at IS NOT NULL AND settled_at IS NULL"
    _index_where("ix_broadcasts_unsettled", "broadcasts", ["id"], unsettled)
    _index_where("ix_broadcasts_to_many", "broadcasts", ["id"], "recipients > 1")


def _widen_batches() -> None:
    for column in (
        sa.Column("accepted_at", _TIME, nullable=True),
        sa.Column("ended", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_report_at", _TIME, nullable=True),
        sa.Column("reports_asked", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("changed", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("counted", _JSON, nullable=True),
    ):
        op.add_column("batches", column)
    op.drop_index("ix_batches_of_broadcast", "batches")
    op.create_index(
        "ix_batches_of_broadcast",
        "batches",
        ["broadcast_id", "state", "id", "size", "accepted_at"],
    )
    op.create_index("ix_batches_sinch_id", "batches", ["sinch_id"])
    _index_where("ix_batches_unreported", "batches", ["next_report_at"], "next_report_at IS NOT NULL")
    _index_where("ix_batches_changed", "batches", ["id"], "changed = 1", "changed = true")
    # What Sinch took before reports were kept is asked for, and counted, at once.
    op.execute(
        "UPDATE batches SET next_report_at = CURRENT_TIMESTAMP, accepted_at = CURRENT_TIMESTAMP, "
        "changed = true WHERE state IN ('accepted', 'duplicate')"
    )


def _index_where(
    name: str, table: str, columns: list[str], where: str, on_postgres: str | None = None
) -> None:
    op.create_index(
        name,
        table,
        columns,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(on_postgres or where),
    )


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", _TIME, nullable=True),
        sa.Column("leftover", sa.String(length=24), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    _index_where("ix_events_waiting", "events", ["id"], "leftover IS NULL")
    _index_where("ix_events_left", "events", ["received_at"], "leftover IS NOT NULL")


def _create_tallies() -> None:
    op.create_table(
        "tallies",
        sa.Column("broadcast_id", _BIG, nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("broadcast_id", "status", "code", "bucket", name=op.f("pk_tallies")),
        sqlite_with_rowid=False,
    )


def _create_inbounds() -> None:
    op.create_table(
        "inbounds",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("sinch_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sender", sa.String(length=32), nullable=False),
        sa.Column("recipient", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("received_at", _TIME, nullable=True),
        sa.Column("noted_at", _TIME, nullable=False),
        sa.Column("client_reference", sa.String(length=128), nullable=True),
        sa.Column("broadcast_id", _BIG, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbounds")),
        sa.UniqueConstraint("sinch_id", name=op.f("uq_inbounds_sinch_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inbounds_sender", "inbounds", ["sender", "id"])
    op.create_index("ix_inbounds_broadcast", "inbounds", ["broadcast_id", "id"])
    op.create_index("ix_inbounds_kind", "inbounds", ["kind", "id"])
    op.create_index("ix_inbounds_noted_at", "inbounds", ["noted_at"])


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("public_id", sa.String(length=26), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("facts", _JSON, nullable=False),
        sa.Column("spread", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("public_id", name=op.f("uq_outbox_public_id")),
        sqlite_autoincrement=True,
    )
    _index_where("ix_outbox_unspread", "outbox", ["id"], "spread = 0", "spread = false")
    op.create_index("ix_outbox_at", "outbox", ["at"])


def downgrade() -> None:
    for table in ("outbox", "inbounds", "tallies", "events"):
        op.drop_table(table)
    for index in ("ix_batches_changed", "ix_batches_unreported", "ix_batches_sinch_id"):
        op.drop_index(index, "batches")
    op.drop_index("ix_batches_of_broadcast", "batches")
    op.create_index("ix_batches_of_broadcast", "batches", ["broadcast_id", "state", "id", "size"])
    op.drop_index("ix_chunks_alone", "chunks")
    op.drop_index("ix_broadcasts_to_many", "broadcasts")
    op.drop_index("ix_broadcasts_unsettled", "broadcasts")
    op.drop_index("uq_broadcasts_resend_of", "broadcasts")
    for table, columns in (
        ("messages", ("noted_at", "status_at", "code", "status")),
        (
            "batches",
            ("counted", "changed", "reports_asked", "next_report_at", "ended", "accepted_at"),
        ),
        ("broadcasts", ("resend_of", "settled_at")),
    ):
        for column in columns:
            op.drop_column(table, column)
