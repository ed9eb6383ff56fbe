"""The inbox: threads by person, who waits for an answer, and an answer that is sent once."""

import re
from datetime import UTC, datetime

import pytest

from app.accounts.roles import Role
from tests.background import context_of
from tests.callers import PATIENT, Caller
from tests.reporting import inbound, tell
from tests.web.visitor import Visitor, make_user, read_text, visit

ANN, BOB = "+46701234567", "+46707654321"
OURS = "+12015550199"
_THREAD = re.compile(r'href="/inbox/(\d+)')
_STATE = re.compile(r'name="state" value="([^"]+)"')


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


@pytest.fixture
def author(service):
    return visit(service, Role.AUTHOR)


def write(service, phone, text, name="01IN"):
    """A person writes to our number."""
    now = datetime.now(UTC).isoformat()
    tell(context_of(service), inbound(phone, text, name=name, received_at=now))


def list_of(visitor, show="all"):
    """The text of the list of threads."""
    return read_text(visitor.get(f"/inbox/list?show={show}"))


def open_newest(visitor):
    """The address of the newest thread, and the state that its form has."""
    path = "/inbox/" + _THREAD.search(visitor.get("/inbox").text)[1]
    state = _STATE.search(visitor.get(path).text)
    return path, state and state[1]


def test_each_person_has_one_thread_by_their_newest_text(service, author):
    write(service, ANN, "Does it hold online too?", "01A")
    write(service, BOB, "who is this", "01B")
    write(service, ANN, "Hello?", "01C")

    page = author.get("/inbox")

    assert len(_THREAD.findall(page.text)) == 2
    text = list_of(author)
    assert text.index("Hello?") < text.index("who is this")
    assert "Does it hold" not in text
    assert "Inbox 2 to answer" in read_text(page)


def test_an_answer_goes_from_the_number_that_was_written_to_and_is_shown(
    service, author, sandbox, at_sinch
):
    write(service, ANN, "Does it hold online too?")
    path, state = open_newest(author)

    answer = author.post(path, {"message": "It does.", "state": state}, on=path)

    assert (answer.status_code, answer.location) == (303, path)
    (batch,) = at_sinch()
    sent = (
        [number.lstrip("+") for number in batch["to"]],
        batch["from"].lstrip("+"),
        batch["body"],
    )
    assert sent == ([ANN[1:]], OURS[1:], "It does.")
    text = read_text(author.get(path))
    assert "Sent. Its status is below the text." in text
    assert "They wrote: Does it hold online too?" in text
    assert "You wrote: It does." in text
    assert "a author On its way" in text.partition("You wrote: It does.")[2]
    assert "to answer" not in text


def test_the_list_has_the_last_text_of_a_thread(service, author):
    write(service, ANN, "Does it hold online too?", "01A")
    path, state = open_newest(author)

    author.post(path, {"message": "It does,\nuntil Sunday.", "state": state}, on=path)
    answered = list_of(author)
    write(service, ANN, "Thanks", "01B")

    assert "You: It does, until Sunday." in answered
    assert "Does it hold" not in answered
    assert "Thanks" in list_of(author)
    assert "You:" not in list_of(author)


def test_answers_and_automatic_replies_are_in_threads_and_in_no_list(service, author):
    write(service, ANN, "Hello?", "01A")
    path, state = open_newest(author)
    author.post(path, {"message": "Hello.", "state": state}, on=path)
    write(service, ANN, "STOP", "01B")

    thread = read_text(author.get(path))
    assert "You wrote: Hello." in thread
    assert thread.count("You wrote:") == 2
    assert "No broadcast was sent yet." in read_text(author.get("/broadcasts"))
    assert "Nothing is being sent." in read_text(author.get("/overview"))


def test_a_second_press_sends_nothing(service, author, sandbox):
    write(service, ANN, "Does it hold online too?")
    path, state = open_newest(author)

    for _ in range(3):
        answer = author.post(path, {"message": "It does.", "state": state}, on=path)
        assert answer.status_code == 303

    assert sandbox.recipients() == [ANN]


def test_a_colleague_was_faster(service, author, sandbox):
    write(service, ANN, "Does it hold online too?")
    path, state = open_newest(author)
    colleague = Visitor(service)
    colleague.sign_in(make_user(service, Role.AUTHOR, "Jonas Wikander"))
    colleague.post(path, {"message": "It does.", "state": state}, on=path)

    late = author.post(path, {"message": "Yes, until Sunday", "state": state}, on=path)

    assert late.status_code == 409
    assert "Not sent. Jonas Wikander answered at" in read_text(late)
    assert "Yes, until Sunday</textarea>" in late.text
    assert sandbox.recipients() == [ANN]

    again = author.post(
        path, {"message": "Yes, until Sunday", "state": _STATE.search(late.text)[1]}, on=path
    )
    assert again.status_code == 303
    assert sandbox.recipients() == [ANN, ANN]


def test_a_person_who_opted_out_gets_no_answer(service, author, sandbox):
    write(service, ANN, "STOP")
    sent = len(sandbox.recipients())
    path, state = open_newest(author)

    text = read_text(author.get(path))
    forced = author.post(path, {"message": "Come back", "state": "-"}, on=path)

    assert state is None
    assert "You cannot: they opted out" in text
    assert "Opted out" in list_of(author, "opted_out")
    assert "No text waits" in list_of(author, "to_answer")
    assert (forced.status_code, len(sandbox.recipients())) == (409, sent)
    assert "You cannot: they opted out" in read_text(forced)


@pytest.mark.parametrize("text", ["", "   ", "x" * 2_001, "Hi ${first_name}"])
def test_a_text_that_cannot_be_sent_is_told_at_its_field(service, author, sandbox, text):
    write(service, ANN, "Hello?")
    path, state = open_newest(author)

    answer = author.post(path, {"message": text, "state": state}, on=path)

    assert answer.status_code == 400
    assert 'id="message-error"' in answer.text
    assert text in answer.text
    assert sandbox.recipients() == []


def test_a_text_that_may_mean_stop_is_judged_by_an_operator(service, author, sandbox):
    write(service, ANN, "start stop")
    path, _ = open_newest(author)
    text = read_text(author.get(path))
    assert "Perhaps “stop”" in text
    assert "An operator decides." in text
    assert author.post(f"{path}/judge", {"meant": "go_on", "note": "x"}, on=path).status_code == 403

    operator = visit(service, Role.OPERATOR)
    unsaid = operator.post(f"{path}/judge", {"meant": "go_on", "note": " "}, on=path)
    assert (unsaid.status_code, "Write why" in unsaid.text) == (400, True)
    judged = operator.post(
        f"{path}/judge", {"meant": "go_on", "note": "It is about an order"}, on=path
    )

    assert judged.status_code == 303
    assert "Texts may go on." in read_text(operator.get(path))
    assert 'name="message"' in author.get(path).text


def test_a_text_that_meant_stop_stops_all_texts(service, sandbox):
    write(service, ANN, "start stop")
    operator = visit(service, Role.OPERATOR)
    path, _ = open_newest(operator)

    operator.post(f"{path}/judge", {"meant": "stop", "note": "Asked by phone, too"}, on=path)
    again = operator.post(f"{path}/judge", {"meant": "go_on", "note": "No"}, on=path)

    assert again.status_code == 303
    assert "The text was judged meanwhile." in read_text(operator.get(path))
    assert "Opted out" in list_of(operator, "opted_out")


def test_a_viewer_sees_no_number_and_no_name_and_cannot_answer(service, sandbox):
    Caller(service).post(
        "/api/subscribers", {"phone": ANN, "first_name": "Ylva", "last_name": "Brandt"}
    )
    write(service, ANN, "Call me on 0701234567, Ylva", "01A")
    write(service, BOB, "who is this", "01B")
    viewer = visit(service, Role.VIEWER)
    path = "/inbox/" + _THREAD.findall(viewer.get("/inbox").text)[1]

    page = viewer.get(path)

    assert not re.search("Ylva|Brandt|0701234567|" + ANN[1:] + "|" + BOB[1:], page.text)
    assert "Y. B." in read_text(page)
    assert 'name="message"' not in page.text
    answer = viewer.post(path, {"message": "Hi", "state": "-"}, on=path)
    assert answer.status_code == 403
    assert sandbox.recipients() == []


def test_what_programs_send_meanwhile_answers_nothing(service, author, sandbox):
    write(service, ANN, "Does it hold online too?")

    Caller(service).send(ANN, message="Your code is 1234")

    assert "Does it hold" in list_of(author, "to_answer")
    path, _ = open_newest(author)
    assert "Your code is 1234" in read_text(author.get(path))


def test_an_automatic_reply_answers(service, author, sandbox):
    write(service, ANN, "HELP")

    assert "No text waits" in list_of(author, "to_answer")


def test_a_thread_that_polls_is_asked_less_often_until_something_comes(service, author):
    write(service, ANN, "Hello?", "01A")
    path, _ = open_newest(author)
    region = re.search(r'hx-get="(/inbox/[^"]+/thread[^"]*)"', author.get(path).text)[1]

    quiet = author.get(region.replace("&amp;", "&")).text
    write(service, ANN, "Anybody?", "01B")
    moved = author.get(region.replace("&amp;", "&")).text

    assert "load delay:7.5s" in quiet
    assert "load delay:5.0s" in moved
    assert "Anybody?" in moved


def test_hostile_texts_are_shown_as_texts(service, author):
    write(service, ANN, "<script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}")

    path, _ = open_newest(author)

    for page in ("/inbox", path):
        text = author.get(page).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("path", ["/inbox/1", "/inbox/99999999999999999999999", "/inbox/1/thread"])
def test_an_unknown_thread_is_not_found(author, path):
    assert author.get(path).status_code == 404


def test_a_filter_that_does_not_exist_is_told(author):
    assert author.get("/inbox?show=x").status_code == 400


def test_people_without_a_session_are_sent_to_sign_in(service):
    answer = service.test_client().get("/inbox")

    assert (answer.status_code, "/login" in answer.location) == (303, True)
