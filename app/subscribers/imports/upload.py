"""Upload of an import's file, stored in chunks before the request is answered."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from app.db.base import table_of
from app.db.types import UtcTime
from app.errors import Conflict
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
from app.subscribers.imports.service import (
    complete_options,
    delete_some_chunks,
    lock_import,
    require_quota,
    view_import,
)
from app.subscribers.lists.columns import (
    CONSENT_AT,
    CONSENT_SOURCE,
    CONSENT_WORDING,
    ColumnMapping,
    map_columns,
)
from app.subscribers.lists.reader import (
    FileChunk,
    UnusableFile,
    UnusableHeaders,
    read_heading,
    split_chunks,
)

_CONSENT = (CONSENT_WORDING, CONSENT_SOURCE, CONSENT_AT)

_IMPORTS, _CHUNKS = table_of(Import), table_of(ImportChunk)


class FileTooLarge(Exception):
    """The file has more bytes than IMPORT_MAX_BYTES.  Nothing of it is stored."""


def store_file(ctx: SubscriberContext, public_id: str, blocks: Iterable[bytes]) -> Row[Any]:
    """Store the file of an import that waits for it.  Returns the import, ready for a worker.

    An earlier upload that broke off is replaced.  Raises NotFound and FileTooLarge.  Raises
    Conflict if the import has its file, another upload has begun or too many bytes are stored, and
    UnusableFile.
    """
    return _store(_Upload(ctx, public_id), blocks)


def stage_file(ctx: SubscriberContext, public_id: str, blocks: Iterable[bytes]) -> Row[Any]:
    """Store the file of an import that goes on waiting: `start_staged` says what its columns are.

    Raises as `store_file` does, but not for its headers.
    """
    return _store(_Upload(ctx, public_id, maps_columns=False), blocks)


def is_staged(row: Row[Any]) -> bool:
    """Return True if an import has its whole file and waits for its columns."""
    return row.status is ImportStatus.WAITING and row.upload is None and row.lines > 0


def start_staged(ctx: SubscriberContext, public_id: str, options: ImportOptions) -> Row[Any]:
    """Start an import whose file is staged.  Returns it, ready for a worker.

    Raises NotFound, UnusableHeaders, BadInput, and Conflict if it has begun or ended.
    """
    options = complete_options(ctx, options)
    mapping = _map_columns(read_first_chunk(ctx, public_id), options)
    now = ctx.now()
    with ctx.db.write() as tx:
        row = lock_import(tx, ctx, public_id)
        require_staged(row)
        begun = {"options": options.to_json(), **_begin(tx, options, mapping, now)}
        tx.execute(update(_IMPORTS).where(_IMPORTS.c.id == row.id).values(begun))
    return view_import(ctx, public_id)


def require_staged(row: Row[Any]) -> None:
    """Raise Conflict if an import does not wait for its columns."""
    if not is_staged(row):
        raise Conflict("The import has begun or ended, or has no file", status=row.status.value)


def read_first_chunk(ctx: SubscriberContext, public_id: str) -> FileChunk:
    """Return the beginning of a staged file.  Raises NotFound and Conflict."""
    row = view_import(ctx, public_id)
    require_staged(row)
    query = select(_CHUNKS.c.first_line, _CHUNKS.c.text).where(_CHUNKS.c.import_id == row.id)
    with ctx.db.read() as tx:
        chunk = tx.execute(query.order_by(_CHUNKS.c.first_line).limit(1)).one()
    return FileChunk(chunk.first_line, chunk.text.decode())


def _store(upload: "_Upload", blocks: Iterable[bytes]) -> Row[Any]:
    try:
        upload.store(blocks)
        return upload.end()
    except BaseException:
        upload.discard()
        raise


class _Upload:
    """An upload that has begun; another upload of the import takes its right to write."""

    def __init__(
        self, ctx: SubscriberContext, public_id: str, *, maps_columns: bool = True
    ) -> None:
        self._ctx = ctx
        self._maps_columns = maps_columns
        self._public_id = public_id
        self._token = make_id(ctx.now())
        with ctx.db.write() as tx:
            row = lock_import(tx, ctx, public_id)
            if row.status is not ImportStatus.WAITING:
                raise Conflict("The import has its file, or has ended", status=row.status.value)
            begun = update(_IMPORTS).where(_IMPORTS.c.id == row.id)
            tx.execute(begun.values(upload=self._token, bytes=0, lines=0))
        self._id: int = row.id
        self._client: str = row.client
        self._options = ImportOptions.from_json(row.options)
        self._mapping: ColumnMapping | None = None
        self._bytes = self._lines = 0
        self.discard()

    def store(self, blocks: Iterable[bytes]) -> None:
        for chunk in split_chunks(self._count(blocks), self._options.encoding):
            if self._maps_columns and self._mapping is None:
                self._mapping = _map_columns(chunk, self._options)
            elif not self._lines:
                read_heading(chunk)
            self._lines = chunk.next_line - 1
            with self._ctx.db.write() as tx:
                self._require_update(tx, bytes=self._bytes)
                require_quota(tx, self._ctx, self._client)
                values = {"import_id": self._id, "first_line": chunk.first_line}
                tx.execute(insert(_CHUNKS), {**values, "text": chunk.text.encode()})

    def end(self) -> Row[Any]:
        if not self._lines:
            raise UnusableFile("the file is empty")
        with self._ctx.db.write() as tx:
            begun: dict[str, Any] = {}
            if self._mapping is not None:
                begun = _begin(tx, self._options, self._mapping, self._ctx.now())
            self._require_update(tx, bytes=self._bytes, lines=self._lines, upload=None, **begun)
        return view_import(self._ctx, self._public_id)

    def discard(self) -> None:
        """Delete the stored chunks, unless another upload has begun."""
        deleted = True
        while deleted:
            with self._ctx.db.write() as tx:
                deleted = self._update(tx, bytes=0) and delete_some_chunks(tx, self._id)

    def _count(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._bytes += len(block)
            if self._bytes > self._ctx.rules.import_max_bytes:
                raise FileTooLarge
            yield block

    def _update(self, tx: Connection, **values: Any) -> bool:
        """Change the row of the import.  Returns True if this upload still counts."""
        ours = update(_IMPORTS).where(
            _IMPORTS.c.id == self._id,
            _IMPORTS.c.upload == self._token,
            _IMPORTS.c.status == ImportStatus.WAITING,
        )
        return tx.execute(ours.values(values)).rowcount == 1

    def _require_update(self, tx: Connection, **values: Any) -> None:
        if not self._update(tx, **values):
            raise Conflict("Another upload of this import has begun, or it was cancelled")


def _begin(
    tx: Connection, options: ImportOptions, mapping: ColumnMapping, now: datetime
) -> dict[str, Any]:
    """Return the columns of an import that a worker may take."""
    checks = options.mode is Mode.ALL_OR_NOTHING
    return {
        "status": ImportStatus.CHECKING if checks else ImportStatus.WRITING,
        "column_mapping": mapping.to_json(),
        "lines_done": mapping.first_line - 1,
        "stamp": _choose_stamp(tx, now),
        "phase_at": now,
    }


def _map_columns(chunk: FileChunk, options: ImportOptions) -> ColumnMapping:
    """Return the fields of the columns.  Raises UnusableFile and UnusableHeaders."""
    column_mapping = map_columns(
        read_heading(chunk), columns=options.columns, ignore=options.ignore
    )
    needs = options.purpose is Purpose.MARKETING and options.consent is None
    missing = [name for name in _CONSENT if name not in column_mapping.fields]
    if needs and missing:
        raise UnusableHeaders(
            f"marketing needs a consent, and no column is {', '.join(missing)}: name them "
            "with columns, or give one consent for all rows"
        )
    return column_mapping


def _choose_stamp(tx: Connection, now: datetime) -> datetime:
    """Return a time that no other import has."""
    last = tx.execute(select(func.max(_IMPORTS.c.stamp, type_=UtcTime()))).scalar()
    return now if last is None or last < now else last + timedelta(microseconds=1)
