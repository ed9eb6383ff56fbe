"""Export and import of suppressions as phone hashes, to keep opt-outs and erasures over a restore.

A backup lacks everything that came after it.  The list reveals no number and includes erased
people; only the key whose fingerprint it contains can import it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import select, update

from app.csv_cells import write_lines
from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import BadInput
from app.subscribers.context import SubscriberContext
from app.subscribers.lists.reader import RowReader
from app.subscribers.models import Cause, Scope, Suppression
from app.subscribers.suppressions.store import (
    SuppressionRequest,
    settle_key,
    suppress_hashes,
    write_fingerprint,
)

_HEADERS = ("key", "phone_hash", "scope", "cause", "suppressed_at")
_PAGE = 5_000
_CHUNK_SIZE = 500

_SUPPRESSIONS = table_of(Suppression)
_ERASE = (
    update(_SUPPRESSIONS)
    .where(_SUPPRESSIONS.c.released_at.is_(None))
    .values(phone=None, note=None, inbound=None, cause=Cause.ERASED)
)


@dataclass(frozen=True, slots=True)
class HashesImported:
    """Counts of the hashes of a list, and of those not suppressed before."""

    hashes: int
    newly_suppressed: int


def export_hashes(ctx: SubscriberContext) -> Iterator[str]:
    """Yield all suppressions in force as a CSV file of hashes, a page of lines at a time."""
    key = write_fingerprint(ctx.phone_hash_key)
    yield write_lines([_HEADERS])
    after = 0
    while True:
        with ctx.db.write() as tx:
            settle_key(tx, ctx)
            in_force = select(_SUPPRESSIONS).where(_SUPPRESSIONS.c.released_at.is_(None))
            query = in_force.where(_SUPPRESSIONS.c.id > after).order_by(_SUPPRESSIONS.c.id)
            rows = tx.execute(query.limit(_PAGE)).all()
        if not rows:
            return
        after = rows[-1].id
        yield write_lines(
            (
                key,
                row.phone_hash.hex(),
                row.scope.value,
                row.cause.value,
                row.suppressed_at.isoformat(),
            )
            for row in rows
        )


def import_hashes(ctx: SubscriberContext, lines: Iterable[str], *, actor: str) -> HashesImported:
    """Suppress the hashes of such a file, and erase the numbers of erased people again.

    A number that was released later stays released.  Raises BadInput for a file of another kind
    or key, WrongKey.
    """
    requests = _read(ctx, RowReader(iter(lines), delimiter=",", first_line=1), actor)
    hashes = newly_suppressed = 0
    while part := dict(islice(requests, _CHUNK_SIZE)):
        erased = [
            phone_hash for phone_hash, request in part.items() if request.cause is Cause.ERASED
        ]
        with ctx.db.write() as tx:
            newly_suppressed += len(suppress_hashes(tx, ctx, part, {}))
            tx.execute(_ERASE.where(_SUPPRESSIONS.c.phone_hash.in_(erased)))
        hashes += len(part)
    with ctx.db.write() as tx:
        facts = {"hashes": hashes, "newly_suppressed": newly_suppressed}
        write_audit(tx, ctx.now(), actor, "import hashes", "all", **facts)
    return HashesImported(hashes, newly_suppressed)


def _read(
    ctx: SubscriberContext, rows: RowReader, actor: str
) -> Iterator[tuple[bytes, SuppressionRequest]]:
    header = next(rows, None)
    if header is None or tuple(header.cells) != _HEADERS:
        raise BadInput("This is not a list of hashes: export one with --hashes")
    key = write_fingerprint(ctx.phone_hash_key)
    for line, cells, _ in rows:
        if cells[0] != key:
            raise BadInput("The list was made with another SUPPRESSION_KEY: set that key")
        try:
            _, phone_hash, scope, cause, suppressed_at = cells
            hashed, at = bytes.fromhex(phone_hash), datetime.fromisoformat(suppressed_at)
            request = SuppressionRequest(cause=Cause(cause), actor=actor, at=at, scope=Scope(scope))
        except (ValueError, TypeError) as e:
            raise BadInput(f"Line {line} is not a line of a list of hashes") from e
        if at.tzinfo is None or len(hashed) != 32:
            raise BadInput(f"Line {line} is not a line of a list of hashes")
        yield hashed, request
