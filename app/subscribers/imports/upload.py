"""How the file of an import comes in: in pieces that are on the disk before the answer."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from app.db.base import table_of
from app.db.types import UtcTime
from app.errors import BadInput, Conflict
from app.ids import make_id
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.models import (
    Import,
    ImportChunk,
    ImportOptions,
    ImportStatus,
    Mode,
    Purpose,
)
from app.subscribers.imports.service import delete_some_chunks, lock_import, view_import
from app.subscribers.lists.columns import (
    CONSENT_AT,
    CONSENT_SOURCE,
    CONSENT_WORDING,
    ColumnMapping,
    UnusableHeaders,
    map_columns,
)
from app.subscribers.lists.reader import FileChunk, UnusableFile, read_heading, split_chunks

_CONSENT = (CONSENT_WORDING, CONSENT_SOURCE, CONSENT_AT)

_IMPORTS, _PIECES = table_of(Import), table_of(ImportChunk)
# Made once: to make a statement costs several times what it takes to run one.
_BEGIN = (
    update(_IMPORTS)
    .where(_IMPORTS.c.id == bindparam("this"))
    .values(upload=bindparam("token"), bytes=0, lines=0)
)
_OURS = (
    update(_IMPORTS)
    .where(_IMPORTS.c.id == bindparam("this"), _IMPORTS.c.upload == bindparam("token"))
    .where(_IMPORTS.c.status == ImportStatus.WAITING)
)
_NOTE = _OURS.values(bytes=bindparam("received"))
_END = _OURS.values(
    status=bindparam("next"),
    column_mapping=bindparam("found", type_=_IMPORTS.c.column_mapping.type),
    bytes=bindparam("received"),
    lines=bindparam("count"),
    lines_done=bindparam("done"),
    stamp=bindparam("at"),
    phase_at=bindparam("now"),
    upload=None,
)
_ADD_PIECE = insert(_PIECES)
_LAST_STAMP = select(func.max(_IMPORTS.c.stamp, type_=UtcTime()))


class FileTooLarge(Exception):
    """More bytes came than IMPORT_MAX_BYTES: nothing of it is kept."""


def store_file(ctx: SubscriberContext, public_id: str, portions: Iterable[bytes]) -> Row[Any]:
    """Keep the file of an import that waits for it; from then on it is worked off.

    One that came in part is begun anew.  Raises NotFound, Conflict where it has its file or
    another upload has begun, BadInput for what cannot be imported, and FileTooLarge.
    """
    upload = _Upload(ctx, public_id)
    try:
        upload.take(portions)
        return upload.end()
    except Conflict:
        raise
    except BaseException as e:
        upload.discard()
        refusal = _refuse(e)
        if refusal is None:
            raise
        raise refusal from e


def _refuse(error: BaseException) -> BadInput | None:
    """What to answer to a file that cannot be imported."""
    for kind, field in ((UnusableFile, "file"), (UnusableHeaders, "columns")):
        if isinstance(error, kind):
            return BadInput(f"The file cannot be imported: {error}", fields={field: [f"{error}."]})
    return None


class _Upload:
    """One file on its way in."""

    def __init__(self, ctx: SubscriberContext, public_id: str) -> None:
        self._people = ctx
        self._public_id = public_id
        self._token = make_id(ctx.now())
        with ctx.db.write() as tx:
            row = lock_import(tx, public_id)
            if row.status is not ImportStatus.WAITING:
                raise Conflict("The import has its file, or has ended", status=row.status.value)
            tx.execute(_BEGIN, {"this": row.id, "token": self._token})
        self._id: int = row.id
        self._options = ImportOptions.from_json(row.options)
        self._layout: ColumnMapping | None = None
        self._received = self._lines = 0
        self.discard()

    def take(self, portions: Iterable[bytes]) -> None:
        for chunk in split_chunks(self._count(portions), self._options.encoding):
            self._keep(chunk)
            self._lines = chunk.next_line - 1

    def end(self) -> Row[Any]:
        if self._layout is None:
            raise UnusableFile("the file is empty")
        checks = self._options.mode is Mode.ALL_OR_NOTHING
        now = self._people.now()
        with self._people.db.write() as tx:
            ended = {
                "this": self._id,
                "token": self._token,
                "next": ImportStatus.CHECKING if checks else ImportStatus.WRITING,
                "found": self._layout.to_json(),
                "received": self._received,
                "count": self._lines,
                "done": self._layout.first_line - 1,
                "at": _choose_stamp(tx, now),
                "now": now,
            }
            _require(tx.execute(_END, ended).rowcount == 1)
        return view_import(self._people, self._public_id)

    def _count(self, portions: Iterable[bytes]) -> Iterator[bytes]:
        for portion in portions:
            self._received += len(portion)
            if self._received > self._people.rules.import_max_bytes:
                raise FileTooLarge
            yield portion

    def discard(self) -> None:
        """Delete what was kept, unless another upload has begun."""
        ours = {"this": self._id, "token": self._token, "received": 0}
        left = True
        while left:
            with self._people.db.write() as tx:
                left = tx.execute(_NOTE, ours).rowcount == 1 and delete_some_chunks(tx, self._id)

    def _keep(self, piece: FileChunk) -> None:
        if self._layout is None:
            self._layout = _find_layout(piece, self._options)
        with self._people.db.write() as tx:
            noted = {"this": self._id, "token": self._token, "received": self._received}
            _require(tx.execute(_NOTE, noted).rowcount == 1)
            kept = {"import_id": self._id, "first_line": piece.first_line}
            tx.execute(_ADD_PIECE, kept | {"text": piece.text.encode()})


def _find_layout(piece: FileChunk, options: ImportOptions) -> ColumnMapping:
    """What the columns are for.  Raises UnusableFile and UnusableTitles."""
    column_mapping = map_columns(
        read_heading(piece), columns=options.columns, ignore=options.ignore
    )
    needs = options.purpose is Purpose.MARKETING and options.consent is None
    missing = [name for name in _CONSENT if name not in column_mapping.fields]
    if needs and missing:
        raise UnusableHeaders(
            f"marketing needs a consent, and no column is {', '.join(missing)}: say which by "
            "columns, or give one consent for all rows"
        )
    return column_mapping


def _choose_stamp(tx: Connection, now: datetime) -> datetime:
    """A time that no import before has had."""
    last = tx.execute(_LAST_STAMP).scalar()
    return now if last is None or last < now else last + timedelta(microseconds=1)


def _require(ours: bool) -> None:
    if not ours:
        raise Conflict("Another upload of this import has begun, or it was cancelled")
