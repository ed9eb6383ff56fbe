"""Standard terms for tables, columns and stored words; no row is lost, no hash changes."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TABLES = {
    "facts": "metadata",
    "import_pieces": "import_chunks",
    "tallies": "delivery_counts",
}

# By the table's new name.
_COLUMNS = {
    "batches": {
        "absent": "not_found_count",
        "asked": "reconcile_attempts",
        "changed": "rollup_dirty",
        "counted": "rollup_contribution",
        "next_ask_at": "next_reconcile_at",
        "picked": "recipient_indexes",
        "reports_asked": "report_fetches",
        "surplus": "duplicate_sinch_ids",
        "wish": "cancel_request",
        "withheld": "exclusion_reason",
    },
    "broadcasts": {"finished_at": "completed_at", "settled_at": "all_reported_at"},
    "chunks": {"withheld": "exclusion_reason"},
    "erasures": {"left": "remaining"},
    "events": {"leftover": "dead_letter_reason"},
    "import_refusals": {"title": "header"},
    "imports": {
        "finished_at": "completed_at",
        "forgotten_at": "purged_at",
        "layout": "column_mapping",
    },
    "inbounds": {"noted_at": "recorded_at"},
    "messages": {"noted_at": "recorded_at"},
    "outbox": {"kind": "event_type", "spread": "fanned_out"},
    "subscriber_tags": {"asked_at": "opt_in_requested_at"},
    "suppressions": {
        "digest": "phone_hash",
        "since_at": "suppressed_at",
        "to_review": "needs_review",
    },
    "webhook_endpoints": {"kinds": "event_types"},
}

# Words in columns of text.
_WORDS = {
    ("broadcasts", "status"): {
        "complete_with_attention": "complete_needs_attention",
        "late": "missed_start",
        "stopped": "halted",
    },
    ("deliveries", "status"): {"given_up": "abandoned"},
    ("outbox", "event_type"): {
        "broadcast.finished": "broadcast.completed",
        "broadcast.settled": "broadcast.all_reported",
    },
}

# Words in columns of JSON: names and values that clients are still to be shown.
_FACTS = {
    "complete_with_attention": "complete_needs_attention",
    "finished_at": "completed_at",
    "given_up": "abandoned",
    "settled_at": "all_reported_at",
    "uncertain": "unconfirmed",
    "withheld": "excluded",
}
_JSON = {
    ("idempotency_keys", "answer"): _FACTS,
    ("imports", "column_mapping"): {"titles": "headers"},
    ("outbox", "facts"): _FACTS | {"noted_at": "recorded_at"},
    ("webhook_endpoints", "event_types"): _WORDS["outbox", "event_type"],
}

# Small ones, of the few rows that wait for something.
_INDEXES = {
    "ix_batches_changed": ("ix_batches_rollup_dirty", "id", "rollup_dirty = {true}"),
    "ix_batches_to_ask": (
        "ix_batches_to_reconcile",
        "next_reconcile_at",
        "next_reconcile_at IS NOT NULL",
    ),
    "ix_batches_wishes": ("ix_batches_cancel_request", "id", "cancel_request = 'wanted'"),
}


def upgrade() -> None:
    for old, new in _TABLES.items():
        op.rename_table(old, new)
    for table, columns in _COLUMNS.items():
        for old, new in columns.items():
            _rename_column(table, old, new)
    for (table, column), words in _WORDS.items():
        for old, new in words.items():
            _replace_word(table, column, old, new)
    for (table, column), words in _JSON.items():
        for old, new in words.items():
            _replace_in_json(table, column, old, new)
    _finish_deleting_tags()
    true = "1" if op.get_bind().dialect.name == "sqlite" else "true"
    for old, (new, column, condition) in _INDEXES.items():
        where = sa.text(condition.format(true=true))
        op.drop_index(old, "batches")
        op.create_index(new, "batches", [column], sqlite_where=where, postgresql_where=where)


def _finish_deleting_tags() -> None:
    """Delete the tags whose deletion was interrupted: they were renamed to begin with a slash."""
    op.execute(
        "DELETE FROM subscriber_tags WHERE tag_id IN (SELECT id FROM tags WHERE name LIKE '/%')"
    )
    op.execute("DELETE FROM tags WHERE name LIKE '/%'")


def _rename_column(table: str, old: str, new: str) -> None:
    # Both databases do this without touching a row; alembic would copy SQLite's whole table.
    op.execute(f'ALTER TABLE {table} RENAME COLUMN "{old}" TO {new}')


def _replace_word(table: str, column: str, old: str, new: str) -> None:
    rows = sa.table(table, sa.column(column, sa.String))
    op.execute(sa.update(rows).where(rows.c[column] == old).values({column: new}))


def _replace_in_json(table: str, column: str, old: str, new: str) -> None:
    text = f"CAST({column} AS TEXT)"
    replaced = f"REPLACE({text}, :old, :new)"
    if op.get_bind().dialect.name != "sqlite":
        replaced = f"CAST({replaced} AS JSON)"
    statement = sa.text(f"UPDATE {table} SET {column} = {replaced} WHERE {text} LIKE :pattern")  # noqa: S608
    op.execute(statement.bindparams(old=f'"{old}"', new=f'"{new}"', pattern=f'%"{old}"%'))


def downgrade() -> None:
    for new, _, _ in _INDEXES.values():
        op.drop_index(new, "batches")
    for (table, column), words in _JSON.items():
        for old, new in words.items():
            _replace_in_json(table, column, new, old)
    for (table, column), words in _WORDS.items():
        for old, new in words.items():
            _replace_word(table, column, new, old)
    for table, columns in _COLUMNS.items():
        for old, new in columns.items():
            _rename_column(table, new, f'"{old}"')
    for old, new in _TABLES.items():
        op.rename_table(new, old)
    true = "1" if op.get_bind().dialect.name == "sqlite" else "true"
    for old, column, condition in (
        ("ix_batches_changed", "id", f"changed = {true}"),
        ("ix_batches_to_ask", "next_ask_at", "next_ask_at IS NOT NULL"),
        ("ix_batches_wishes", "id", "wish = 'wanted'"),
    ):
        where = sa.text(condition)
        op.create_index(old, "batches", [column], sqlite_where=where, postgresql_where=where)
