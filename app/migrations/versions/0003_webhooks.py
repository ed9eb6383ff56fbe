"""Webhooks to clients: where they want to be told, and what was told."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("public_id", sa.String(length=26), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("kinds", _JSON, nullable=False),
        sa.Column("secret", sa.LargeBinary(length=64), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(length=64), nullable=True),
        sa.Column("old_secret_until", _TIME, nullable=True),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("quick", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", _TIME, nullable=True),
        sa.Column("problem", sa.String(length=64), nullable=True),
        sa.Column("delivered_at", _TIME, nullable=True),
        sa.Column("not_before", _TIME, nullable=True),
        sa.Column("lease", sa.String(length=32), nullable=True),
        sa.Column("leased_until", _TIME, nullable=True),
        sa.Column("served_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
        sa.UniqueConstraint("public_id", name=op.f("uq_webhook_endpoints_public_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhook_endpoints_client", "webhook_endpoints", ["client"])
    op.create_table(
        "deliveries",
        sa.Column("endpoint_id", _BIG, nullable=False),
        sa.Column("event_id", _BIG, nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("waiting_since", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("tried_at", _TIME, nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("problem", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("endpoint_id", "event_id", name=op.f("pk_deliveries")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["endpoint_id", "due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_status", "deliveries", ["endpoint_id", "status", "event_id"]
    )
    op.create_index("ix_deliveries_event_id", "deliveries", ["event_id"])


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_table("webhook_endpoints")
