"""A file that is staged waits for its columns, and is read as it would be imported."""

import pytest

from app.errors import Conflict
from app.subscribers.imports.models import ImportOptions, ImportStatus
from app.subscribers.imports.preview import preview_file
from app.subscribers.imports.service import create_import, list_refusals, view_import
from app.subscribers.imports.upload import is_staged, stage_file, start_staged
from app.subscribers.lists.reader import UnusableFile, UnusableHeaders
from tests.subscribers.imports.imports import counts, everybody, finish

FILE = b"who,city\n+46701234567,Lund\n12,Malmo\n"
OPTIONS = ImportOptions(columns={"phone": "who"}, ignore=("city",))


@pytest.fixture
def staged(people):
    row = create_import(people, ImportOptions(), client="tests", file_name="a.csv")
    return stage_file(people, row.public_id, [FILE]).public_id


def test_nothing_happens_until_it_is_started_once(people, staged):
    assert is_staged(finish(people, view_import(people, staged)))
    assert everybody(people) == {}

    start_staged(people, staged, OPTIONS)
    with pytest.raises(Conflict):
        start_staged(people, staged, OPTIONS)

    row = finish(people, view_import(people, staged))
    assert (row.status, row.file_name) == (ImportStatus.COMPLETE, "a.csv")
    assert counts(row) == {"rows": 2, "created": 1, "refused": 1}
    assert [cell.line for cell in list_refusals(people, staged, limit=5)] == [3]


def test_the_first_rows_say_what_would_be_refused(people, staged):
    assert "no column is known" in preview_file(people, staged, ImportOptions(), rows=5).error

    preview = preview_file(people, staged, OPTIONS, rows=5)

    assert preview.fields == ("phone", None)
    assert [(row.line, len(row.rejected)) for row in preview.rows] == [(2, 0), (3, 1)]


def test_headers_that_do_not_fit_start_nothing(people, staged):
    with pytest.raises(UnusableHeaders):
        start_staged(people, staged, ImportOptions())

    assert is_staged(view_import(people, staged))


def test_a_file_that_is_no_list_is_not_staged(people):
    row = create_import(people, ImportOptions(), client="tests")

    with pytest.raises(UnusableFile):
        stage_file(people, row.public_id, [b"PK\x03\x04"])

    assert not is_staged(view_import(people, row.public_id))
