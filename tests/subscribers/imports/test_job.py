"""An import as a job: taken up after a crash, by one at a time, cancelled, forgotten."""

import contextlib
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select, text

from app.db.base import table_of
from app.errors import BadInput, Conflict, NotFound
from app.subscribers.imports.job import work_import, work_imports
from app.subscribers.imports.models import (
    ImportChunk,
    ImportOptions,
    ImportRefusal,
    ImportStatus,
    Mode,
)
from app.subscribers.imports.service import (
    cancel_import,
    create_import,
    export_refusals,
    list_imports,
    purge_imports,
    view_import,
)
from app.subscribers.imports.upload import FileTooLarge, store_file
from tests.factories import many_numbers
from tests.machine import Together
from tests.subscribers.imports.imports import (
    Ended,
    begin,
    counts,
    everybody,
    finish,
    import_file,
    refusals,
    with_rules,
    write_csv,
)

ANN = "+46701234567"
LEASE_S = 11


def _many(count, *more):
    rows = ([number, f"Ann{place}"] for place, number in enumerate(many_numbers(count)))
    return write_csv(["phone", "first name"], *rows, *more)


def _count(people, model):
    with people.db.read() as tx:
        return tx.execute(select(func.count()).select_from(table_of(model))).scalar()


@pytest.mark.parametrize(("place", "passes"), [("I0", 2), ("I1", 1)])
@pytest.mark.parametrize("mode", list(Mode))
def test_after_a_crash_it_goes_on_where_it_was_and_does_no_row_twice(
    people, end_at, place, passes, mode
):
    """I0 is before a commit, I1 behind it.  Nobody takes it up before the dead one's lease ends."""
    bad = [["bad", "Bob"]] if mode is Mode.SKIP_BAD else []
    row = begin(people, _many(400, [ANN, "Ann"], *bad, [ANN, "Anna"]), mode=mode)
    lives = 0

    while not view_import(people, row.public_id).completed_at:
        lives += 1
        end_at(place, passes)
        with contextlib.suppress(Ended):
            list(work_import(people, row.id))
        assert not work_imports(people)
        people.clock.advance(LEASE_S)
    row = view_import(people, row.public_id)

    assert lives > 1
    assert counts(row) == {
        "rows": 402 + len(bad), "created": 401, "merged": 1,
    } | ({"refused": 1} if bad else {})  # fmt: skip
    assert row.lines_done == row.lines
    found = everybody(people)
    assert len(found) == 401
    assert found[ANN]["name"] == ("Anna", None)
    assert len(refusals(people, row)) == len(bad)


def test_whoever_is_told_to_stop_leaves_the_rest_to_others_at_once(people):
    row = begin(people, _many(600))
    steps = iter([False, True])

    for _ in work_import(people, row.id, stop=lambda: next(steps)):
        pass

    halfway = view_import(people, row.public_id)
    assert halfway.status is ImportStatus.WRITING
    assert 0 < halfway.created < 600
    assert counts(finish(people, row)) == {"rows": 600, "created": 600}


def test_whose_lease_has_ended_writes_nothing_more(people):
    row = begin(people, _many(600))
    slow = work_import(people, row.id)
    next(slow)
    people.clock.advance(LEASE_S)
    quick = work_import(people, row.id)
    next(quick)
    before = view_import(people, row.public_id)

    assert list(slow) == []

    assert view_import(people, row.public_id).lines_done == before.lines_done
    assert len(list(quick)) > 0
    assert counts(finish(people, row)) == {"rows": 600, "created": 600}


def test_several_at_work_take_an_import_each_and_none_twice(people):
    files = [write_csv(["phone"], *([n] for n in many_numbers(700, start=at))) for at in (0, 350)]
    rows = [begin(people, file) for file in files]

    def work():
        while work_imports(people):
            pass

    Together(work, work, work).join()

    ended = [view_import(people, row.public_id) for row in rows]
    assert [row.status for row in ended] == [ImportStatus.COMPLETE] * 2
    assert [row.rows for row in ended] == [700, 700]
    assert sum(row.created for row in ended) == len(everybody(people)) == 1_050


def test_a_cancelled_import_takes_no_more_rows(people):
    row = begin(people, _many(600))
    steps = work_import(people, row.id)
    next(steps)

    cancelled = cancel_import(people, row.public_id)

    assert list(steps) == []
    assert finish(people, row).status is ImportStatus.CANCELLED
    assert cancelled.created == len(everybody(people)) < 600
    with pytest.raises(Conflict, match="has ended"):
        cancel_import(people, row.public_id)


def test_all_or_nothing_is_not_cancelled_once_it_is_written(people_here):
    row = begin(people_here, _many(600), mode=Mode.ALL_OR_NOTHING)
    steps = work_import(people_here, row.id)
    while view_import(people_here, row.public_id).status is ImportStatus.CHECKING:
        next(steps)

    with pytest.raises(Conflict, match="is being written"):
        cancel_import(people_here, row.public_id)
    steps.close()
    assert view_import(people_here, row.public_id).created < 600


def test_what_cannot_be_worked_off_ends_as_failed_and_says_so(people_here):
    row = begin(people_here, _many(3))
    with people_here.db.write() as tx:
        tx.execute(text("UPDATE import_chunks SET first_line = 100"))

    failed = finish(people_here, row)

    assert failed.status is ImportStatus.FAILED
    assert "the service's log says why" in failed.error


def test_a_file_is_taken_once(people_here):
    row = begin(people_here, _many(3))

    with pytest.raises(Conflict, match="has its file"):
        store_file(people_here, row.public_id, [b"phone\n"])
    with pytest.raises(NotFound):
        store_file(people_here, "nobody", [b"phone\n"])


def test_a_second_upload_ends_the_first(people):
    row = create_import(people, ImportOptions(), client="tests")
    line = f"{ANN},{'x' * 200}\n".encode()

    def blocks():
        yield b"phone,note\n"
        yield line * 6_000
        store_file(people, row.public_id, [b"phone\n", ANN.encode()])
        yield line * 6_000

    with pytest.raises(Conflict, match="Another upload"):
        store_file(people, row.public_id, blocks())

    assert _count(people, ImportChunk) == 1
    assert counts(finish(people, row)) == {"rows": 1, "created": 1}


def test_an_upload_that_breaks_off_leaves_nothing_and_may_be_begun_anew(people_here):
    row = create_import(people_here, ImportOptions(), client="tests")

    def blocks():
        yield b"phone\n" + b"+46701234567\n" * 100_000
        raise OSError("the client has gone")

    with pytest.raises(OSError, match="gone"):
        store_file(people_here, row.public_id, blocks())

    assert _count(people_here, ImportChunk) == 0
    assert view_import(people_here, row.public_id).status is ImportStatus.WAITING
    store_file(people_here, row.public_id, [b"phone\n", ANN.encode()])
    assert counts(finish(people_here, row)) == {"rows": 1, "created": 1}


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"name\nAnn\n", "no column is known to hold phone numbers"),
        (b"phone\n\xff\n", "line 2 is not in utf-8"),
        (b"PK\x03\x04", "a workbook"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_at_once(people_here, file, reason):
    row = create_import(people_here, ImportOptions(), client="tests")

    with pytest.raises(BadInput, match=reason):
        store_file(people_here, row.public_id, [file])

    assert view_import(people_here, row.public_id).status is ImportStatus.WAITING
    assert not work_imports(people_here)


def test_a_file_without_rows_is_complete_at_once(people_here):
    assert import_file(people_here, b"phone").status is ImportStatus.COMPLETE


def test_a_file_may_not_be_larger_than_the_setting(people_here):
    small = with_rules(people_here, import_max_bytes=1_000)
    row = create_import(small, ImportOptions(), client="tests")
    file = _many(60)[:1_000]

    with pytest.raises(FileTooLarge):
        store_file(small, row.public_id, [file, b"x"])

    assert _count(people_here, ImportChunk) == 0
    assert store_file(small, row.public_id, [file]).bytes == 1_000


def test_a_file_is_deleted_at_the_end_of_its_import_and_refusals_some_days_later(people):
    old = import_file(people, write_csv(["phone"], [ANN], ["bad"]))
    more = {"import_id": old.id, "position": 0, "header": "phone", "cell": "", "reason": ""}
    with people.db.write() as tx:
        tx.execute(insert(ImportRefusal), [more | {"line": line} for line in range(10, 6_000)])
    abandoned = create_import(people, ImportOptions(), client="tests")
    people.clock.advance(timedelta(days=3).total_seconds())
    recent = import_file(people, write_csv(["phone"], ["bad"]))
    unfinished = begin(people, write_csv(["phone"], [ANN]))
    people.clock.advance(timedelta(days=4, seconds=1).total_seconds())

    assert purge_imports(people) == 1

    assert view_import(people, old.public_id).purged_at is not None
    assert view_import(people, old.public_id).refused == 1
    with pytest.raises(NotFound, match="has been deleted"):
        export_refusals(people, old.public_id)
    assert view_import(people, abandoned.public_id).status is ImportStatus.CANCELLED
    with people.db.read() as tx:
        kept = set(tx.execute(select(ImportChunk.import_id)).scalars())
        refused = set(tx.execute(select(ImportRefusal.import_id)).scalars())
    assert kept == {unfinished.id}
    assert refused == {recent.id}
    assert counts(finish(people, unfinished)) == {"rows": 1, "unchanged": 1}


def test_a_purge_leaves_no_import_that_is_due(people):
    for _ in range(101):
        cancel_import(people, create_import(people, ImportOptions(), client="tests").public_id)
    people.clock.advance(timedelta(days=8).total_seconds())

    assert purge_imports(people) == 101


def test_imports_are_listed_the_newest_first(people):
    made = [create_import(people, ImportOptions(), client="tests").public_id for _ in range(5)]

    first = list_imports(people, limit=3)
    second = list_imports(people, limit=3, cursor=int(first.cursor))

    assert [row.public_id for row in (*first.rows, *second.rows)] == made[::-1]
    assert second.cursor is None
