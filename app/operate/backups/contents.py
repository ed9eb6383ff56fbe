"""Contents of a snapshot: its migration, owner, rows, and whether its counts add up."""

from sqlalchemy import Connection, func, inspect, select, table

from app.db.facts import read_metadata
from app.db.schema import INSTANCE, list_revisions, read_revision
from app.operate.audit import AuditSeal, read_head
from app.operate.backups.manifest import BackupFailed, Contents
from app.sms.operations.invariants import find_violations_at_rest


def read_contents(tx: Connection) -> Contents:
    """Read a snapshot.  Raises BackupFailed if it was never migrated."""
    revision = read_revision(tx)
    if revision is None:
        raise BackupFailed("The database is empty: run `flask --app wsgi db upgrade` first")
    names = sorted(set(inspect(tx).get_table_names()) - {"alembic_version"})
    is_ours = revision == list_revisions()[-1]
    return Contents(
        revision=revision,
        instance_id=read_metadata(tx, INSTANCE),
        rows={
            name: tx.execute(select(func.count()).select_from(table(name))).scalar_one()
            for name in names
        },
        audit_head=read_head(tx) if AuditSeal.__tablename__ in names else None,
        violations=find_violations_at_rest(tx) if is_ours else None,
    )
