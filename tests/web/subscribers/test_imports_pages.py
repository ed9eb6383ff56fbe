"""Import of a file on pages: columns, first rows, progress, ledger, refused rows."""

import io
import re
from datetime import timedelta
from html import unescape

import pytest

from app.accounts.roles import Role
from app.subscribers.imports.job import work_imports
from app.subscribers.imports.service import purge_completed
from tests.web.visitor import read_text, visit

FILE = (
    "Mobil;Namn;Ort;Besök;Anm.\n"
    "+46701740621;Elin Sandberg;Göteborg;7;\n"
    "070-174 06 34;Maja Ekdahl;Göteborg;4;ring mornings\n"
    "4,67017E+10;Ylva Brandt;Malmö;2;\n"
    "+46701740621;Elin Sandberg;Göteborg;7;\n"
    "+447700900123;Owen Pryce;Leeds;often;\n"
)
CHOICES = {
    "column-0": "phone",
    "column-1": "name",
    "column-2": "attributes.city|text",
    "column-3": "attributes.visits|number",
    "column-4": "",
}
REST = {"mode": "skip_bad", "country": "SE", "tags": "members, 2026", "agreed": ""}
_LINE = re.compile(r"(\d[\d,]*) (?:[\d.]+|under 0.1) %")


def upload(visitor, text=FILE, name="members.csv", **fields):
    file = (io.BytesIO(text.encode() if isinstance(text, str) else text), name)
    return visitor.post("/people/imports", {"file": file} | fields, on="/people/imports")


@pytest.fixture
def page(author):
    """The address of a file that waits for its columns."""
    return upload(author).headers["Location"]


@pytest.fixture
def work(service):
    """A function that does what workers would."""

    def work():
        while work_imports(service.extensions["clarion"].subscriber_context):
            pass

    return work


def choose(visitor, page, **fields):
    return visitor.post(page, CHOICES | REST | {"action": "start"} | fields, on=page)


def show(visitor, page):
    return read_text(visitor.get(page))


def test_columns_are_guessed_and_shown_with_their_first_rows(author, page):
    answer = author.get(page)

    text = read_text(answer)
    assert "What is in members.csv?" in text
    assert "5 lines below the titles, 5 columns, separated by “;”." in text
    assert "Maja Ekdahl" in text
    chosen = [unescape(value) for value in re.findall(r'value="([^"]*)" selected', answer.text)]
    assert chosen == [
        "phone", "name", "attributes.Ort|text", "attributes.besok|text", "attributes.Anm.|text",
    ]  # fmt: skip
    assert "digits are lost. Set its column to text and save the file anew." in text
    lead = "Numbers without + need their country: choose it"
    again = [read_text(choose(author, page, action="look", country=code)) for code in ("", "SE")]
    assert [lead in each for each in again] == [True, False]


def test_rows_are_shown_again_by_other_columns_and_nothing_begins(author, page):
    wrong = CHOICES | {"column-3": "attributes.besok|number"}

    text = read_text(author.post(page, wrong | REST | {"action": "look"}, on=page))

    assert "Besök: Not a number" in text
    assert "Import 5 lines" in text
    assert "What is in members.csv?" in show(author, page)


def test_a_file_is_imported_and_every_row_is_in_one_line(author, page, work, service):
    chosen = {"column-2": "attributes.Ort|text", "column-3": "attributes.besok|number"}
    assert choose(author, page, **chosen).headers["Location"] == page
    text = show(author, page)
    assert "members.csv is being imported" in text
    assert "Rows read 0 of 6 lines" in text
    assert 'hx-trigger="load delay:1s, wake"' in author.get(f"{page}/live").text

    work()

    assert author.get(f"{page}/live").headers["HX-Refresh"] == "true"
    text = show(author, page)
    assert "members.csv is imported" in text
    ledger = text.partition("What that means Rows Share")[2].partition("Adds up")[0]
    *lines, total = [int(figure) for figure in _LINE.findall(ledger)]
    assert (lines, total) == ([2, 1, 2], 5)
    assert "4 Mobil 4,67017E+10 A spreadsheet has shortened this number" in text
    assert "6 Besök often Not a number" in text
    file = author.get(f"{page}/refused.csv")
    assert file.mimetype == "text/csv"
    assert "often" in file.text
    people = show(author, "/people")
    assert "Maja Ekdahl +46701740634" in people
    assert "2026, members" in people
    ctx = service.extensions["clarion"].subscriber_context
    purge_completed(ctx, before=ctx.now() + timedelta(seconds=1))
    assert "The refused rows are deleted: they are kept for some days" in show(author, page)


def test_the_landlines_of_a_file_are_one_press_away(author, work, service):
    page = upload(author, "phone\n+493012345678\n").headers["Location"]
    author.post(page, {"column-0": "phone", "action": "start"}, on=page)
    work()

    answer = author.get(page)

    said = "1 row has a landline, which gets no texts in most countries: look at their lines."
    assert said in read_text(answer)
    assert f'href="{page}/warnings.csv"' in answer.text
    file = author.get(f"{page}/warnings.csv")
    assert file.headers["Content-Disposition"].startswith("attachment; filename=warnings-")
    assert "493012345678" in file.text
    ctx = service.extensions["clarion"].subscriber_context
    purge_completed(ctx, before=ctx.now() + timedelta(seconds=1))
    answer = author.get(page)
    assert "the list of them is deleted." in read_text(answer)
    assert "warnings.csv" not in answer.text


def test_a_second_press_begins_nothing_again(author, page):
    choose(author, page)

    assert choose(author, page).status_code == 303
    assert "Nothing was done. The import has begun already" in show(author, page)


def test_an_import_is_cancelled(author, page, work):
    choose(author, page)

    author.post(f"{page}/cancel", on=page)
    work()

    text = show(author, page)
    assert "The import of members.csv was cancelled" in text
    assert "What is written stays." in text
    again = author.post(f"{page}/cancel", on="/people/imports")
    assert again.status_code == 303
    assert "Nothing was done." in show(author, page)


def test_all_or_nothing_writes_nothing_and_adds_up(author, page, work):
    choose(author, page, mode="all_or_nothing")
    work()

    text = show(author, page)

    assert "Nothing of members.csv was imported" in text
    ledger = text.partition("What that means Rows Share")[2].partition("Adds up")[0]
    *lines, total = [int(figure) for figure in _LINE.findall(ledger)]
    assert sum(lines) == total == 5
    assert "No one is here yet." in show(author, "/people")


def test_an_agreement_of_all_is_kept_for_each(author, page, work):
    agreed = {"agreed": "all", "wording": "Yes, text me", "source": "shop", "at": "2026-03-01"}
    choose(author, page, **agreed)
    work()

    assert "Maja Ekdahl +46701740634 Gets everything" in show(author, "/people")


def test_a_column_whose_title_is_too_long_can_be_left_out(author, work):
    page = upload(author, f"phone,{'x' * 201}\n+46701740621,1\n").headers["Location"]

    author.post(page, {"column-0": "phone", "column-1": "", "action": "start"}, on=page)
    work()

    assert "1 100 %" in show(author, page)


def test_a_form_of_columns_that_the_file_has_not_is_read_without_them(author, page, work):
    choose(author, page, **{f"column-{'9' * 5_000}": "phone", "column-99": "phone"})
    work()

    assert "members.csv is imported" in show(author, page)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"country": "XX"}, "Choose a country."),
        ({"tags": "a/b"}, "A tag has 1 to 64 letters"),
        ({"column-0": ""}, "No column is known to hold phone numbers."),
        ({"column-4": "phone"}, "Two columns are “Phone number”: leave one out."),
        ({"column-2": "everything"}, "its choice is unknown"),
        ({"agreed": "all"}, "Write what they agreed to, word for word."),
        (
            {"agreed": "all", "wording": "a", "source": "b", "at": "2999-01-01"},
            "in the future",
        ),
    ],
)
def test_a_mistake_is_said_and_what_was_chosen_stays(author, page, fields, sentence):
    answer = choose(author, page, **fields)

    assert answer.status_code == 400
    assert sentence in read_text(answer)
    assert "<title>Error:" in answer.text
    if "tags" not in fields:
        assert 'value="members, 2026"' in answer.text
    assert "What is in members.csv?" in show(author, page)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the file is empty"),
        (b"PK\x03\x04", "this is a workbook"),
        ("phone\nÅ".encode("latin-1"), "is not in utf-8"),
        ("<html>", "this is a web page"),
    ],
)
def test_a_file_that_is_no_list_is_refused_and_not_kept(author, text, sentence):
    answer = upload(author, text)

    assert answer.status_code == 400
    assert sentence in read_text(answer)
    assert "Waits for" not in show(author, "/people/imports")


def test_a_file_larger_than_may_be_is_refused(make_service, sandbox):
    small = visit(make_service(IMPORT_MAX_BYTES="1000"), Role.AUTHOR)

    assert "A file may have 1,000 bytes." in read_text(upload(small, "phone\n" + "x" * 1_500))


def test_a_form_without_a_file_says_so(author):
    assert "Choose a file." in read_text(upload(author, name=""))


def test_hostile_titles_cells_and_names_are_shown_as_text(author, work):
    hostile = "<img src=x onerror=alert(1)>"
    page = upload(author, f"phone,{hostile}\n12,{hostile}\n", name=hostile).headers["Location"]

    answers = [author.get(page), author.get("/people/imports")]
    author.post(page, {"column-0": "phone", "column-1": "", "action": "start"}, on=page)
    work()

    for answer in (*answers, author.get(page)):
        assert "<img" not in answer.text
    assert f"Nothing of {hostile}" not in show(author, page)
    assert hostile in show(author, page)


def test_a_viewer_imports_nothing(service, author, page):
    viewer = visit(service, Role.VIEWER)

    assert upload(viewer).status_code == 403
    files = [f"{page}/{name}.csv" for name in ("refused", "warnings")]
    for path in (page, f"{page}/live", *files, "/people/imports"):
        assert viewer.get(path).status_code == 403
    for path in (page, f"{page}/cancel"):
        assert viewer.post(path, on="/people").status_code == 403
