"""Rows of one number that contradict each other: a "no" in the file is never made a yes."""

import contextlib

import pytest
from sqlalchemy import func, select

from app.db.base import table_of
from app.subscribers.imports.job import work_import
from app.subscribers.imports.models import ImportDenial, Mode, Purpose
from app.subscribers.imports.rows import DENIED_ELSEWHERE
from app.subscribers.imports.service import cancel_import, view_import
from app.subscribers.lists.reader import CHUNK_CHARACTERS
from tests.factories import many_numbers
from tests.subscribers.imports.imports import (
    CONSENT,
    Ended,
    begin,
    counts,
    everybody,
    finish,
    import_file,
    refusals,
    write_csv,
)

ANN, BOB = "+46701234567", "+46701234568"
LEASE_S = 11
CHUNK_LINE = "y" * 1_000 + "\n"
# More than the first transaction takes.
BETWEEN = 300


def _far_apart(*rows):
    """A file with more rows of other people between these than a transaction takes."""
    between = [[number, "yes"] for number in many_numbers(BETWEEN)]
    first, *others = rows
    return write_csv(["phone", "SMS consent"], first, *between, *others)


def _count_denials(people):
    with people.db.read() as tx:
        return tx.execute(select(func.count()).select_from(table_of(ImportDenial))).scalar()


@pytest.mark.parametrize("answers", [("yes", "no"), ("no", "yes"), ("yes", "stop")])
@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_no_counts_wherever_it_is(people, answers, purpose):
    file = _far_apart([ANN, answers[0]], [ANN, answers[1]], [BOB, "yes"])

    row = import_file(people, file, purpose=purpose, consent=CONSENT, check_numbers=False)

    found = everybody(people)
    assert found[BOB]["consented_at"] == CONSENT.at
    if purpose is Purpose.MARKETING or "stop" in answers:
        assert ANN not in found
        assert counts(row)["refused"] == 2
        assert DENIED_ELSEWHERE in {reason for *_, reason in refusals(people, row)}
    else:
        assert (found[ANN]["consented_at"], found[ANN]["links"]) == (None, 0)
    assert _count_denials(people) == 0


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("place", ["I0", "I1"])
def test_a_no_counts_after_a_crash_in_any_pass(people, end_at, place, mode):
    file = _far_apart([ANN, "yes"], [ANN, "no"])
    row = begin(people, file, mode=mode, consent=CONSENT, check_numbers=False)
    lives = 0

    while not view_import(people, row.public_id).completed_at:
        lives += 1
        end_at(place, 2)
        with contextlib.suppress(Ended):
            list(work_import(people, row.id))
        people.clock.advance(LEASE_S)

    assert lives > 1
    assert counts(finish(people, row)) == {
        "rows": BETWEEN + 2, "created": BETWEEN + 1, "merged": 1,
    }  # fmt: skip
    assert everybody(people)[ANN]["consented_at"] is None


def test_a_no_counts_of_a_row_that_is_refused_for_something_else(people_here):
    file = write_csv(
        ["phone", "SMS consent", "language"],
        [ANN, "yes", "sv"],
        [ANN, "no", "no such language"],
        [BOB, "yes", "sv"],
        # Perhaps without its plus: who it is is not sure enough to import it, but to spare Bob.
        [BOB.removeprefix("+"), "no", "sv"],
    )

    row = import_file(people_here, file, consent=CONSENT)

    assert counts(row)["refused"] == 2
    assert {each["consented_at"] for each in everybody(people_here).values()} == {None}


def test_what_a_cancelled_file_denied_goes_with_it(people_here):
    row = begin(people_here, _far_apart([ANN, "yes"], [ANN, "no"]), check_numbers=False)
    next(work_import(people_here, row.id))
    assert _count_denials(people_here) == 1

    cancel_import(people_here, row.public_id)

    assert _count_denials(people_here) == 0


@pytest.mark.parametrize("word", ["Unsubscribed", "Désinscrit", "отписался", "退订", "opt out"])
def test_a_word_in_any_column_counts_across_the_chunks_of_a_long_file(people_here, word):
    filler = f"{many_numbers(1)[0]},{'x' * 99_000}\n"
    row_over_two_chunks = f'{BOB},"{CHUNK_LINE * 60}",{word}\n'
    file = f"phone,note,more\n{ANN},a\n{BOB},b\n{filler * 10}{row_over_two_chunks}{filler * 15}"
    boundary = CHUNK_CHARACTERS - len(file.partition(row_over_two_chunks)[0])
    assert 0 < boundary < len(row_over_two_chunks)

    row = import_file(people_here, f"{file}{filler * 10}{ANN},c,{word}\n".encode())

    assert everybody(people_here) == {}
    assert counts(row)["refused"] == counts(row)["rows"]
