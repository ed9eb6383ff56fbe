"""Numbers that a row of a file denies texts or marketing: no other row of the file gives them.

The first pass through the file records them, so that the distance of two rows and their order
change nothing.  They are deleted with the file.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, bindparam, delete, func, select

from app.db.base import table_of
from app.db.prepared import PHONES, chunked, insert_rows, pack
from app.subscribers.imports.models import ImportDenial
from app.subscribers.lists.permissions import Permission

_DELETED_AT_ONCE = 20_000

_DENIALS = table_of(ImportDenial)
_FOUND = {
    dialect: select(_DENIALS.c.phone, func.max(_DENIALS.c.permission))
    .where(_DENIALS.c.import_id == bindparam("import_id"), _DENIALS.c.phone.in_(phones))
    .group_by(_DENIALS.c.phone)
    for dialect, phones in PHONES.items()
}


def record_denials(tx: Connection, import_id: int, denied: Mapping[str, Permission]) -> None:
    """Record what rows deny; what is recorded stays."""
    rows = [
        {"import_id": import_id, "phone": phone, "permission": int(permission)}
        for phone, permission in sorted(denied.items())
    ]
    insert_rows(tx, _DENIALS, rows, skip_known=True)


def has_denials(tx: Connection, import_id: int) -> bool:
    """Return True if a row of the file denies anything."""
    query = select(_DENIALS.c.phone).where(_DENIALS.c.import_id == import_id).limit(1)
    return tx.execute(query).first() is not None


def find_denials(tx: Connection, import_id: int, phones: Collection[str]) -> dict[str, Permission]:
    """Return what the file denies, by number, among these numbers."""
    denied: dict[str, Permission] = {}
    for some in chunked(sorted(phones)):
        values = {"import_id": import_id, "phones": pack(tx, some)}
        found = tx.execute(_FOUND[tx.dialect.name], values)
        denied |= {phone: Permission(permission) for phone, permission in found}
    return denied


def delete_some_denials(tx: Connection, import_id: int) -> bool:
    """Delete some of the records.  Returns True if there were any."""
    ours = _DENIALS.c.import_id == import_id
    some = select(_DENIALS.c.phone).where(ours).limit(_DELETED_AT_ONCE)
    return tx.execute(delete(_DENIALS).where(ours, _DENIALS.c.phone.in_(some))).rowcount > 0
