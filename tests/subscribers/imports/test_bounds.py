"""What one file or one client may cost: memory, turns of the workers, disk, tags."""

import contextlib
import os
import tracemalloc

import pytest
from sqlalchemy import func, select

from app.db.base import table_of
from app.errors import Conflict
from app.failpoints import failpoints
from app.subscribers.imports.job import (
    MAX_DEATHS,
    MAX_REFUSALS_KEPT,
    TOO_MANY_NEW_TAGS,
    work_import,
    work_imports,
)
from app.subscribers.imports.models import ImportChunk, ImportOptions, ImportStatus, Mode
from app.subscribers.imports.service import cancel_import, create_import, view_import
from app.subscribers.imports.upload import store_file
from app.subscribers.models import Tag
from app.subscribers.tags.assignments import MAX_NEW_TAGS
from app.worker.jobs import import_next
from tests.background import context_of
from tests.callers import OTHER_KEY, TWO_CLIENTS, Caller
from tests.factories import AUTH, many_numbers
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
# Bytes of a file whose only row never ends; FUZZ=1000 makes it 20 MB.
SIZE = 20_000 * max(1, int(os.environ.get("FUZZ", "0")))
# Each line closes a quote and opens the next, so csv.reader would join them all.
NEVER_ENDING = b'x","\n'
MIB = 1024 * 1024


def poison(size):
    return b"phone,name\n" + NEVER_ENDING * (size // len(NEVER_ENDING))


def small(start=0):
    return write_csv(["phone"], *([number] for number in many_numbers(20, start=start)))


def count(people, model):
    with people.db.read() as tx:
        return tx.execute(select(func.count()).select_from(table_of(model))).scalar()


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [NEVER_ENDING, b'"\n', b"\n", b",,,,,,,,\n", b'x,"' + b"y" * 900 + b"\n"]
)
def test_a_file_whose_rows_never_end_takes_little_memory_and_ends(people_here, line):
    file = b"phone,name\n" + line * (SIZE // len(line))
    row = begin(people_here, file)
    del file

    tracemalloc.start()
    ended = finish(people_here, row)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert ended.status is ImportStatus.COMPLETE
    assert ended.rows == ended.refused
    assert ended.lines_done == ended.lines
    assert peak < 32 * MIB


def test_imports_of_another_client_are_done_beside_a_file_whose_rows_never_end(people):
    slow = begin(people, poison(200_000))
    quick = [begin(people, small(start=n * 20), client="crm") for n in range(3)]
    turns = 0

    while not all(view_import(people, row.public_id).completed_at for row in quick):
        work_imports(people, for_s=0)
        turns += 1

    assert turns <= 2 * len(quick)
    halfway = view_import(people, slow.public_id)
    assert halfway.status is ImportStatus.WRITING
    assert halfway.lines_done > 0


def test_many_imports_of_one_client_leave_every_second_turn_to_another(people):
    large = write_csv(["phone"], *([number] for number in many_numbers(900)))
    many = [begin(people, small(start=1_000 + n * 20), client="shop") for n in range(6)]
    one = begin(people, large, client="crm")

    for _ in range(4):
        work_imports(people, for_s=0)

    ended = [view_import(people, row.public_id).completed_at for row in many]
    assert [at is not None for at in ended] == [True, True, False, False, False, False]
    assert view_import(people, one.public_id).lines_done > 250


@pytest.mark.parametrize("mode", list(Mode))
def test_a_file_that_its_workers_die_of_is_given_up_and_others_go_on(people, end_at, mode):
    deadly = begin(people, small(), mode=mode)
    healthy = begin(people, small(start=50), client="crm")

    for _ in range(MAX_DEATHS):
        end_at("I0", 1)
        with contextlib.suppress(Ended):
            list(work_import(people, deadly.id))
        people.clock.advance(11)
    failpoints.arm(None)
    while work_imports(people):
        pass

    given_up = view_import(people, deadly.public_id)
    assert given_up.status is ImportStatus.FAILED
    assert f"{MAX_DEATHS} workers ended" in given_up.error
    assert "look at the lines after that" in given_up.error
    assert given_up.created == 0
    assert counts(finish(people, healthy)) == {"rows": 20, "created": 20}
    assert not work_imports(people)


def test_workers_that_die_between_commits_do_not_end_an_import(people, end_at):
    row = begin(people, write_csv(["phone"], *([n] for n in many_numbers(3_000))))
    lives = 0

    while not view_import(people, row.public_id).completed_at:
        end_at("I1", 1)
        with contextlib.suppress(Ended):
            list(work_import(people, row.id))
        lives += 1
        people.clock.advance(11)
    failpoints.arm(None)

    assert lives > MAX_DEATHS
    assert counts(view_import(people, row.public_id)) == {"rows": 3_000, "created": 3_000}


def test_the_first_refusals_are_kept_and_all_are_counted(people_here):
    bad = MAX_REFUSALS_KEPT + 500

    row = import_file(people_here, write_csv(["phone"], *(["bad"] for _ in range(bad))))

    assert counts(row) == {"rows": bad, "refused": bad}
    kept = refusals(people_here, row)
    assert [kept[0][0], kept[-1][0], len(kept)] == [2, MAX_REFUSALS_KEPT + 1, MAX_REFUSALS_KEPT]


def test_a_cancelled_import_keeps_no_file(people):
    row = begin(people, b"phone,note\n" + f"{ANN},{'x' * 500}\n".encode() * 12_000)
    assert count(people, ImportChunk) > 4

    cancel_import(people, row.public_id)

    assert count(people, ImportChunk) == 0
    assert not work_imports(people)


def test_an_import_cancelled_while_it_is_worked_on_ends_without_an_error(people):
    row = begin(people, b"phone,note\n" + f"{ANN},{'x' * 500}\n".encode() * 12_000)
    steps = work_import(people, row.id)
    next(steps)

    cancel_import(people, row.public_id)

    assert list(steps) == []
    ended = view_import(people, row.public_id)
    assert (ended.status, ended.error) == (ImportStatus.CANCELLED, None)


def test_a_client_has_only_so_many_imports_that_have_not_ended(people):
    bounded = with_rules(people, import_client_files=2, import_total_files=3)
    first = create_import(bounded, ImportOptions(), client="shop")
    create_import(bounded, ImportOptions(), client="shop")

    with pytest.raises(Conflict, match=r"2 imports of this client .* cancel some"):
        create_import(bounded, ImportOptions(), client="shop")
    create_import(bounded, ImportOptions(), client="crm")
    with pytest.raises(Conflict, match=r"3 imports of all clients .*IMPORT_TOTAL_FILES"):
        create_import(bounded, ImportOptions(), client="crm")
    cancel_import(bounded, first.public_id)
    create_import(bounded, ImportOptions(), client="crm")


def test_the_files_of_a_client_have_only_so_many_bytes(people):
    file = small()
    bounded = with_rules(
        people, import_client_bytes=2 * len(file), import_total_bytes=3 * len(file)
    )
    stored = [begin(bounded, file) for _ in range(2)]
    third = create_import(bounded, ImportOptions(), client="tests")

    with pytest.raises(Conflict, match=r"of this client .*IMPORT_CLIENT_BYTES"):
        store_file(bounded, third.public_id, [file])
    assert count(people, ImportChunk) == 2
    begin(bounded, file, client="crm")
    with pytest.raises(Conflict, match="of all clients"):
        begin(bounded, b"phone\n", client="crm")
    finish(bounded, stored[0])
    store_file(bounded, third.public_id, [file])


def test_a_full_quota_is_a_conflict_that_says_what_to_do(make_service):
    service = make_service(API_KEYS=TWO_CLIENTS, IMPORT_CLIENT_FILES="1")
    path = "/api/subscribers/imports"
    made = Caller(service).post(path, {}).get_json()

    refused = Caller(service).post(path, {})

    assert refused.status_code == 409
    assert "IMPORT_CLIENT_FILES" in refused.get_json()["error"]
    assert Caller(service, OTHER_KEY).post(path, {}).status_code == 201
    assert Caller(service).post(f"{made['url']}/cancel").status_code == 200
    assert Caller(service).post(path, {}).status_code == 201


def test_a_file_brings_only_so_many_new_tags(people):
    numbers = many_numbers(MAX_NEW_TAGS + 30)
    rows = [[number, f"tag {place}"] for place, number in enumerate(numbers)]

    row = import_file(people, write_csv(["phone", "tags"], *rows))

    assert counts(row) == {"rows": len(rows), "created": MAX_NEW_TAGS, "refused": 30}
    assert {reason for *_, reason in refusals(people, row)} == {TOO_MANY_NEW_TAGS}
    assert count(people, Tag) == MAX_NEW_TAGS


def test_a_file_with_too_many_new_tags_far_apart_is_refused_as_a_whole(people):
    """More rows than one commit has, so that the tags are not seen at once."""
    numbers = many_numbers(904)
    rows = [[number, f"tag {place // 8}"] for place, number in enumerate(numbers)]

    row = import_file(people, write_csv(["phone", "tags"], *rows), mode=Mode.ALL_OR_NOTHING)

    assert row.status is ImportStatus.REFUSED
    assert row.refused == 904 - 8 * MAX_NEW_TAGS
    assert everybody(people) == {}
    assert count(people, Tag) == 0


@pytest.mark.slow
@pytest.mark.parametrize("line", [NEVER_ENDING, b'"\n', b"\n"])
def test_a_list_of_opt_outs_whose_rows_never_end_takes_little_memory(make_service, line):
    service = make_service()
    file = b"phone,name\n" + line * (SIZE // len(line))

    tracemalloc.start()
    answer = service.test_client().post(
        "/api/suppressions/import", data=file, headers=AUTH | {"Content-Type": "text/csv"}
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert answer.status_code in (200, 400)
    assert peak < 32 * MIB
    assert not import_next(context_of(service))
