"""What the rows of a file make of people, on both databases."""

import pytest
from sqlalchemy import func, insert, select

from app.db.base import table_of
from app.phone.reader import NOT_IN_USE, SHORTENED
from app.subscribers.imports.job import work_import
from app.subscribers.imports.models import ImportStatus, Mode, ValueType
from app.subscribers.imports.service import export_refusals, view_import
from app.subscribers.lists.reader import UNCLOSED
from app.subscribers.models import Subscriber, Tag
from app.subscribers.profiles.export_csv import export_subscribers
from tests.factories import many_numbers
from tests.subscribers.imports.imports import (
    begin,
    counts,
    everybody,
    import_file,
    refusals,
    write_csv,
    written,
)

ANN, BOB, CID = "+46701234567", "+46701234568", "+46701234569"


def _many(count):
    return write_csv(["phone"], *([number] for number in many_numbers(count)))


def test_rows_become_subscribers(people):
    file = (
        "Mobil;Vorname;Name;Sprache;Zeitzone;Tags;aktiv;Ort\r\n"
        '070-123 45 67;Ann;Lee;SV;Europe/Stockholm;"VIP, neu";ja;"Gamla\nstan"\r\n'
        f"{BOB};;;;;;nein;\r\n"
    ).encode("utf-16")

    row = import_file(people, file, country="SE", tags=("alle",))

    assert row.status is ImportStatus.COMPLETE
    assert counts(row) == {"rows": 2, "created": 2}
    assert everybody(people) == {
        ANN: {
            "name": ("Ann", "Lee"),
            "language": "sv",
            "zone": "Europe/Stockholm",
            "active": True,
            "attributes": {"Ort": "Gamla\nstan"},
            "consented_at": None,
            "tags": ["alle", "neu", "vip"],
            "links": 0,
        },
        BOB: {
            "name": (None, None),
            "language": None,
            "zone": None,
            "active": False,
            "attributes": {},
            "consented_at": None,
            "tags": ["alle"],
            "links": 0,
        },
    }


def test_given_cells_win_empty_ones_take_nothing_away_and_tags_are_added(people):
    header = ["phone", "first_name", "last_name", "tags", "city", "size"]
    import_file(people, write_csv(header, [ANN, "Ann", "Lee", "a;b", "Lund", "7"]))

    row = import_file(people, write_csv(header, [ANN, "", "Li", "b;c", "", "8"]))

    assert counts(row) == {"rows": 1, "updated": 1}
    ann = everybody(people)[ANN]
    assert (ann["name"], ann["tags"]) == (("Ann", "Li"), ["a", "b", "c"])
    assert ann["attributes"] == {"city": "Lund", "size": "8"}


def test_a_file_that_changes_nothing_writes_nothing(people):
    file = write_csv(
        ["phone", "first_name", "tags", "active", "city", "consent_at", "consent_source",
         "opt_in_text"],
        [ANN, "Ann", "a;b", "yes", "Lund", "2025-01-01", "web", "Yes"],
        [BOB, "", "", "", "", "2025-01-02", "web", "Yes"],
    )  # fmt: skip
    assert counts(import_file(people, file, tags=("all",))) == {"rows": 2, "created": 2}
    before = written(people)

    row = import_file(people, file, tags=("all",))

    assert counts(row) == {"rows": 2, "unchanged": 2}
    assert written(people) == before


def test_a_cell_that_shows_a_stored_number_or_truth_changes_nothing(people):
    options = {"types": {"visits": ValueType.NUMBER, "vip": ValueType.BOOLEAN}}
    file = write_csv(["phone", "visits", "vip"], [ANN, "7", "true"])
    import_file(people, file, **options)
    assert everybody(people)[ANN]["attributes"] == {"visits": 7, "vip": True}

    assert counts(import_file(people, file)) == {"rows": 1, "unchanged": 1}
    assert everybody(people)[ANN]["attributes"] == {"visits": 7, "vip": True}
    assert counts(import_file(people, write_csv(["phone", "visits"], [ANN, "8"]))) == {
        "rows": 1, "updated": 1,
    }  # fmt: skip


@pytest.mark.parametrize("apart", [0, 600])
def test_a_number_given_twice_is_one_person_and_the_later_row_wins(people, apart):
    between = [[number, "", "", ""] for number in many_numbers(apart)]
    header = ["phone", "first_name", "last_name", "tags"]
    file = write_csv(
        header, [ANN, "Ann", "Lee", "a"], [BOB, "Bob", "", ""], *between, [ANN, "Anna", "", "b"]
    )

    row = import_file(people, file)

    assert counts(row) == {"rows": apart + 3, "created": apart + 2, "merged": 1}
    ann = everybody(people)[ANN]
    assert (ann["name"], ann["tags"]) == (("Anna", "Lee"), ["a", "b"])


def test_bad_rows_are_refused_with_their_line_column_and_reason(people):
    file = (
        "phone,first name,language,city\n"
        f'{ANN},"Ann\n\nLee",sv,Lund\n'
        "4.67E+10,Bob,german,Lund\n"
        "\n"
        f"{BOB},Bob,sv,Lund,more\n"
        f'{CID},"Cid,sv,Lund\n'
        f"{CID},{'x' * 101},sv\n"
        f"+46001234567,=cmd,sv,Lund\n"
    ).encode()

    row = import_file(people, file)

    assert row.status is ImportStatus.COMPLETE
    assert counts(row) == {"rows": 6, "created": 1, "refused": 5}
    assert refusals(people, row) == [
        (5, "phone", "4.67E+10", SHORTENED),
        (5, "language", "german", "Not a language such as sv, pt-BR or zh-Hans."),
        (7, "", "", "More cells than headers."),
        (8, "", "", UNCLOSED),
        (9, "first name", "x" * 64, "Longer than 100 characters."),
        (10, "phone", "+46001234567", NOT_IN_USE),
    ]
    assert "".join(export_refusals(people, row.public_id)).splitlines()[1] == (
        f"5,phone,4.67E+10,{SHORTENED}"
    )
    assert list(everybody(people)) == [ANN]


def test_of_all_or_nothing_one_bad_row_keeps_all_others_out(people):
    file = write_csv(
        ["phone", "tags"], [ANN, "a"], *([n, ""] for n in many_numbers(600)), ["x", ""]
    )

    row = import_file(people, file, mode=Mode.ALL_OR_NOTHING)

    assert row.status is ImportStatus.REFUSED
    assert refusals(people, row) == [(603, "phone", "x", "Not a phone number.")]
    assert everybody(people) == {}
    assert written(people) == [[]] * 5


def test_of_all_or_nothing_good_rows_are_all_taken(people):
    row = import_file(people, _many(600), mode=Mode.ALL_OR_NOTHING)

    assert row.status is ImportStatus.COMPLETE
    assert counts(row) == {"rows": 600, "created": 600}
    assert len(everybody(people)) == 600


@pytest.mark.slow
def test_of_all_or_nothing_nothing_is_written_before_all_is_checked(people):
    row = begin(people, _many(900), mode=Mode.ALL_OR_NOTHING)
    seen = []

    for _ in work_import(people, row.id):
        now = view_import(people, row.public_id)
        with people.db.read() as tx:
            stored = tx.execute(select(func.count()).select_from(table_of(Subscriber))).scalar_one()
        seen.append((now.status, now.lines_done, stored))

    checking = [(done, many) for status, done, many in seen if status is ImportStatus.CHECKING]
    assert len(checking) > 1
    assert {many for _, many in checking} == {0}
    assert seen[-1] == (ImportStatus.COMPLETE, 901, 900)


def test_a_tag_with_double_opt_in_waits_to_be_confirmed(people):
    with people.db.write() as tx:
        tx.execute(
            insert(Tag).values(name="weekly-news", double_opt_in=True, created_at=people.now())
        )

    import_file(people, write_csv(["phone", "tags"], [ANN, "weekly-news;plain"]))

    assert everybody(people)[ANN]["tags"] == ["plain", "weekly-news?"]
    exported = "".join(export_subscribers(people))
    assert "plain" in exported
    assert "weekly-news" not in exported


def test_people_keep_fifty_attributes_at_most(people):
    import_file(people, write_csv(["phone", *(f"a{n}" for n in range(50))], [ANN, *["x"] * 50]))

    row = import_file(people, write_csv(["phone", "other", "a1"], [ANN, "x", "y"], [BOB, "x", "y"]))

    assert counts(row) == {"rows": 2, "created": 1, "refused": 1}
    assert "50 attributes" in refusals(people, row)[0][3]
    assert everybody(people)[ANN]["attributes"]["a1"] == "x"


@pytest.mark.parametrize(
    ("headers", "first", "second", "name"),
    [
        (["name"], ["Anna Müller"], ["Jo"], ("Jo", None)),
        (["name"], ["Jo"], ["Anna Müller"], ("Anna", "Müller")),
        (["name"], ["Anna Müller"], [""], ("Anna", "Müller")),
        (["name"], ["Anna Müller"], ["ANNA"], ("ANNA", "Müller")),
        (["first name", "last name"], ["Anna", "Müller"], ["Jo", ""], ("Jo", None)),
        (["first name", "last name"], ["Anna", "Müller"], ["", "Kim"], ("Anna", "Kim")),
        (["first name", "last name"], ["Anna", "Müller"], ["Anna", ""], ("Anna", "Müller")),
        (["first name", "last name"], ["Anna", ""], ["", "Müller"], ("Anna", "Müller")),
        (["first name"], ["Anna"], ["Jo"], ("Jo", None)),
    ],
)
@pytest.mark.parametrize("files", [1, 2])
def test_two_people_of_one_number_do_not_become_one(
    people_here, headers, first, second, name, files
):
    rows = [[ANN, *first], [ANN, *second]]
    for part in [rows] if files == 1 else [rows[:1], rows[1:]]:
        import_file(people_here, write_csv(["phone", *headers], *part))

    assert everybody(people_here)[ANN]["name"] == name
