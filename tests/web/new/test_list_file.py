"""A CSV file as the audience of a new broadcast: columns, rows with errors, sent once."""

import io
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.accounts.roles import Role
from app.phone.reader import SHORTENED
from app.sms.drafts.store import find_draft
from app.sms.privacy.erase import erase_number
from tests.web.new.drafting import begin, read_form, send
from tests.web.visitor import read_text, visit

ELIN, MAJA, OWEN = "+46701740621", "+46701740634", "+447700900123"
FILE = (
    "Mobil;Vorname;Ort;Besök\n"
    f"{ELIN};Elin;Göteborg;7\n"
    "070-174 06 34;Maja;Malmö;4\n"
    "4.67017E+10;Ylva;Malmö;2\n"
    f"{OWEN};Owen;Leeds;\n"
)
GOOD = f"phone,first_name\n{ELIN},Elin\n{OWEN},Owen\n"
_SHORTENED = f"Mobil: {SHORTENED}"


@pytest.fixture
def service(make_service):
    return make_service(DEFAULT_COUNTRY="SE")


@pytest.fixture
def sender(service, sandbox):
    return visit(service, Role.SENDER)


def choose(visitor, draft, text=GOOD, name="vinter.csv", **fields):
    """Bring a file.  Returns the answer."""
    raw = text.encode() if isinstance(text, str) else text
    return send(
        visitor, f"{draft}/audience", {"kind": "file", "file": (io.BytesIO(raw), name), **fields}
    )


def go(visitor, draft, how="on", **fields):
    return send(visitor, f"{draft}/audience", {"kind": "file", "go": how, **fields})


def fill_in_file(visitor, text=GOOD, message="Hi ${first_name}", category="transactional"):
    """Make a draft to a file with all that it needs.  Returns its path."""
    draft = begin(visitor, message)
    assert choose(visitor, draft, text).headers["Location"] == f"{draft}/audience"
    assert go(visitor, draft).headers["Location"] == f"{draft}/when"
    send(visitor, f"{draft}/when", {"category": category})
    return draft


def read_row(service, draft):
    return find_draft(service.extensions["clarion"], draft.rpartition("/")[2])


def test_a_file_is_shown_with_its_columns_and_counted(sender):
    draft = begin(sender, "Hi ${first_name}")

    choose(sender, draft, FILE)

    page = sender.get(f"{draft}/audience")
    text = read_text(page)
    assert "What is in vinter.csv?" in text
    assert '<option value="phone" selected>Phone number</option>' in page.text
    assert '<option value="first_name" selected>First name</option>' in page.text
    assert '<option value="Ort" selected>${Ort}</option>' in page.text
    assert text.count(_SHORTENED) == 1
    assert '<td data-l="Mobil" class="bad">4.67017E+10</td>' in page.text
    assert "1 of 4 rows cannot be sent to. It is marked below; the others are fine." in text
    assert "Rows of the file 4 They cannot be sent to − 1 Get it 3" in text
    assert not read_row(sender.service, draft).file["is_chosen"]


def test_rows_with_errors_are_mended_or_left_out_on_purpose(sender, sandbox):
    draft = begin(sender, "Hi ${first_name}, ${besok} visits")
    choose(sender, draft, FILE)

    refused = go(sender, draft)

    assert refused.status_code == 400
    assert read_text(refused).startswith("Error: ")
    assert "2 of 4 rows cannot be sent to." in read_text(refused)
    assert "Besök: Empty, and the text has ${besok}." in read_text(refused)
    assert sender.get(f"{draft}/confirm").headers["Location"] == f"{draft}/audience"
    assert go(sender, draft, "skip").headers["Location"] == f"{draft}/when"
    send(sender, f"{draft}/when", {"category": "transactional"})
    assert "Send 2 texts" in read_text(sender.get(f"{draft}/confirm"))
    shown = read_text(sender.get(f"{draft}/audience"))
    assert "2 rows are left out because they cannot be sent to." in shown
    go(sender, draft, "look")
    assert "2 of 4 rows cannot be sent to." in read_text(sender.get(f"{draft}/audience"))
    choose(sender, draft, FILE.replace("4.67017E+10", "070 174 06 99").replace("Leeds;", "Leeds;9"))
    assert go(sender, draft).headers["Location"] == f"{draft}/when"


def test_the_values_of_a_row_fill_the_text_of_its_person_and_it_is_sent_once(sender, at_sinch):
    draft = fill_in_file(sender, message="Hi ${first_name}")
    assert "As +46701740621 gets it Hi Elin" in read_text(sender.get(f"{draft}/text"))
    assert "Send 2 texts" in read_text(sender.get(f"{draft}/confirm"))
    form = read_form(sender, draft)

    answers = [send(sender, f"{draft}/confirm", form) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    (batch,) = at_sinch()
    assert batch["to"] == [ELIN[1:], OWEN[1:]]
    assert batch["parameters"] == {"first_name": {ELIN: "Elin", OWEN: "Owen"}}
    row = read_row(sender.service, draft)
    assert (row.numbers, row.file) == (None, None)


def test_many_presses_at_once_send_a_file_once(sender, sandbox):
    draft = fill_in_file(sender)
    form = read_form(sender, draft)
    token = re.search(r'name="csrf_token" value="([^"]+)"', sender.get(f"{draft}/confirm").text)[1]

    def press(_):
        return sender.copy().client.post(f"{draft}/confirm", data=form | {"csrf_token": token})

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(press, range(8)))

    assert {answer.status_code for answer in answers} == {303}
    assert sorted(sandbox.recipients()) == [OWEN, ELIN]


def test_a_file_that_is_saved_unchanged_keeps_its_quote(sender, sandbox):
    draft = fill_in_file(sender)
    form = read_form(sender, draft)

    go(sender, draft)

    assert send(sender, f"{draft}/confirm", form).status_code == 303
    assert sorted(sandbox.recipients()) == [OWEN, ELIN]


@pytest.mark.parametrize("change", ["another file", "other columns"])
def test_a_file_that_changes_between_the_quote_and_the_press_sends_nothing(sender, sandbox, change):
    draft = fill_in_file(sender)
    form = read_form(sender, draft)
    if change == "another file":
        choose(sender, draft, GOOD.replace("Elin", "Elina"))
    else:
        go(sender, draft, **{"column-1": "last_name"})

    answer = send(sender, f"{draft}/confirm", form)

    assert answer.status_code == 409
    assert sandbox.recipients() == []
    assert not read_row(sender.service, draft).broadcast


def test_a_file_replaces_other_audiences_and_they_replace_it(sender):
    draft = begin(sender)
    send(sender, f"{draft}/audience", {"kind": "numbers", "numbers": ELIN})
    choose(sender, draft)
    assert read_row(sender.service, draft).numbers is None

    send(sender, f"{draft}/audience", {"kind": "numbers", "numbers": ELIN})

    row = read_row(sender.service, draft)
    assert (row.numbers, row.file) == (ELIN, None)


def test_a_default_fills_in_for_values_that_rows_lack(sender, at_sinch):
    draft = begin(sender)
    text = {"message": "Hi ${first_name}", "default-first_name": "friend", "go": "on"}
    send(sender, f"{draft}/text", text)
    choose(sender, draft, GOOD.replace("Owen", ""))
    assert go(sender, draft).headers["Location"] == f"{draft}/when"
    send(sender, f"{draft}/when", {"category": "transactional"})

    send(sender, f"{draft}/confirm", read_form(sender, draft))

    (batch,) = at_sinch()
    assert batch["parameters"] == {"first_name": {ELIN: "Elin", "default": "friend"}}


def test_columns_are_chosen_where_their_titles_say_nothing(sender):
    draft = begin(sender, "Hi ${who}")
    choose(sender, draft, f"a,b\n{ELIN},Elin\n".replace(ELIN, "070-1740621 x"))

    assert "Choose the column of the phone numbers." in read_text(go(sender, draft))
    columns = {"column-0": "", "column-1": "phone"}
    assert "The text has ${who}: choose the column that fills it." in read_text(
        go(sender, draft, **columns)
    )
    same = {"column-0": "phone", "column-1": "phone"}
    assert "Two columns are “Phone number”: leave one out." in read_text(go(sender, draft, **same))
    assert "<option" in sender.get(f"{draft}/audience").text


def test_national_numbers_are_of_the_country_that_is_chosen(sender):
    draft = begin(sender)
    choose(sender, draft, "phone\n0151 23456789\n", country="de")
    assert "Get it 1" in read_text(sender.get(f"{draft}/audience"))

    assert "Choose a country." in read_text(go(sender, draft, country="xx"))
    assert "1 of 1 rows cannot be sent to." in read_text(go(sender, draft, country=""))
    assert go(sender, draft, country="DE").headers["Location"] == f"{draft}/when"


def test_the_count_follows_the_columns_and_saves_nothing(sender):
    draft = begin(sender, "Hi ${first_name}")
    choose(sender, draft, f"Home,Mobile\n{ELIN},{OWEN}\n")
    before = read_row(sender.service, draft).version

    columns = {"kind": "file", "column-0": "first_name", "column-1": "phone"}
    text = read_text(send(sender, f"{draft}/audience/count", columns))

    assert "1 person Rows of the file 1 Get it 1" in text
    assert read_row(sender.service, draft).version == before


def test_people_who_opted_out_or_say_no_in_the_file_are_subtracted(sender, caller):
    caller.post("/api/suppressions", {"phones": [ELIN], "scope": "all"})
    draft = begin(sender)

    choose(sender, draft, f"phone,unsubscribed\n{ELIN},\n{OWEN},yes\n{MAJA},\n{MAJA},\n")

    assert (
        "1 person Rows of the file 4 Their number comes again − 1 By the column “unsubscribed” "
        "they want no text − 1 They opted out − 1 Get it 1"
    ) in read_text(sender.get(f"{draft}/audience"))


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "The file cannot be read: the file is empty."),
        (b"phone\n", "The file cannot be read: it has no row below its titles."),
        (bytes(range(256)) * 9, "The file cannot be read: "),
        (b"PK\x03\x04" + bytes(99), "this is a workbook or an archive: save the sheet as CSV"),
        (b"phone\n" + b"+46701740621\n" * 10_001, "it has more than 10,000 rows: import it under"),
    ],
    ids=["empty", "titles alone", "binary", "workbook", "10,001"],
)
def test_a_file_that_cannot_be_used_says_why_and_the_earlier_one_stays(sender, raw, sentence):
    draft = begin(sender)
    choose(sender, draft)

    answer = choose(sender, draft, raw)

    assert answer.status_code == 400
    assert read_text(answer).count(sentence) == 2
    assert read_row(sender.service, draft).file["name"] == "vinter.csv"


def test_a_file_of_a_million_rows_is_refused_in_a_sentence(sender):
    draft = begin(sender)
    token = re.search(r'name="csrf_token" value="([^"]+)"', sender.get("/new").text)[1]
    parts = (
        ('name="csrf_token"', token),
        ('name="kind"', "file"),
        ('name="file"; filename="a.csv"', "phone\n" + f"{ELIN}\n" * 1_000_000),
    )
    body = "".join(
        f"--x\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n" for name, value in parts
    )

    answer = sender.client.post(
        f"{draft}/audience",
        data=f"{body}--x--\r\n".encode(),
        content_type="multipart/form-data; boundary=x",
    )

    assert answer.status_code == 400
    assert "it has more than 10,000 rows: import it under People" in read_text(answer)


def test_without_a_file_one_is_asked_for(sender):
    assert read_text(go(sender, begin(sender))).count("Choose a file.") == 2


def test_300_columns_and_hostile_titles_are_shown_as_text(sender):
    draft = begin(sender)
    titles = ",".join(f"<script>{number}" for number in range(299))

    choose(sender, draft, f"phone,{titles}\n{ELIN}{',<b>x' * 299}\n", name="<i>\0x.csv")

    page = sender.get(f"{draft}/audience")
    assert page.status_code == 200
    assert "<script>2" not in page.text
    assert "<b>x" not in page.text
    assert "What is in <i>x.csv?" in read_text(page).replace("&lt;", "<")


def test_an_erased_person_is_in_no_file_of_a_draft(sender):
    draft = fill_in_file(sender)
    form = read_form(sender, draft)

    erase_number(sender.service.extensions["clarion"], ELIN, actor="tests")

    assert ELIN not in str(read_row(sender.service, draft).file)
    assert send(sender, f"{draft}/confirm", form).status_code == 409
    assert "Send 1 text" in read_text(sender.get(f"{draft}/confirm"))
