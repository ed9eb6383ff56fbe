"""The overview, why a number got no text, and the decision about a batch in doubt."""

import re

import pytest
from sqlalchemy import Engine, event, update

from app.accounts.roles import Role
from app.health import Readiness
from app.sms.audience.plan import plan_broadcast
from app.sms.lifecycle import gates
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import Attention, BatchState, BroadcastStatus
from app.sms.operations.heartbeat import record_consistency
from app.sms.recovery.unknown_outcome import reconcile_due_batches
from app.worker.jobs import sweep
from tests.background import context_of
from tests.callers import Caller, id_of
from tests.factories import in_hours, many_numbers
from tests.reporting import inbound, report, tell
from tests.shifting import shift_clock
from tests.web.visitor import read_text, visit
from tests.wire import unused_port

ANN = "+46701234567"


@pytest.fixture
def operator(service, sandbox):
    return visit(service, Role.OPERATOR)


@pytest.fixture
def in_doubt(service, caller, sandbox):
    """The reference of a batch that needs a decision, and the id of its broadcast."""
    sandbox.order_fault(on="POST /batches", when="before", do="cut")
    broadcast = id_of(caller.send(ANN))
    path = f"/api/broadcasts/{broadcast}/messages"
    reference = caller.get(path).get_json()["messages"][0]["client_reference"]
    ended = {"state": BatchState.NEEDS_ATTENTION, "attention": Attention.ABSENT}
    with service.extensions["clarion"].db.write() as tx:
        tx.execute(update(Batch).where(Batch.client_reference == reference).values(ended))
    return reference, broadcast


def test_the_overview_shows_what_runs_waits_and_needs_attention(operator, caller, in_doubt):
    caller.send(*many_numbers(1_200), reference="large")
    caller.send(ANN, send_at=in_hours(30), reference="later")

    text = read_text(operator.get("/overview"))

    assert "2 things need attention, 2 broadcasts are under way, 1 is scheduled." in text
    assert "It is not known whether 1 text of “Pickup moved to 08:30” went out." in text
    assert "Nothing is sent again by itself. Decide" in text
    assert "Nothing works in the background" in text
    assert "large Next in the queue" in text
    assert "0 of 1,200 people handed to Sinch, 0 delivered" in text
    assert "later 1 person Starts" in text


def test_a_broadcast_that_begins_while_the_overview_is_read_is_on_it(service, operator, caller):
    caller.send(*many_numbers(1_200), reference="large")
    db, statements = service.extensions["clarion"].db, []

    def begin(_connection, _cursor, statement, parameters, *_):
        is_first = "sending" in parameters and not statements
        if is_first and "FROM broadcasts" in statement:
            statements.append(statement)
            with db.write() as tx:
                tx.execute(update(Broadcast).values(status=BroadcastStatus.SENDING))

    event.listen(Engine, "after_cursor_execute", begin)
    try:
        text = read_text(operator.get("/overview"))
    finally:
        event.remove(Engine, "after_cursor_execute", begin)

    assert len(statements) == 1
    assert "1 broadcast is under way" in text


def test_an_audience_that_is_looked_up_later_is_no_empty_one(operator, caller):
    caller.post("/api/subscribers", {"phone": ANN, "tags": ["crew"]})
    tagged = {"message": "Pickup moved to 08:30", "send_at": in_hours(30)}
    later = id_of(caller.post("/api/broadcast/tag/crew", tagged))

    assert "its people are looked up when it starts" in read_text(operator.get("/overview"))
    page = read_text(operator.get(f"/broadcasts/{later}"))
    assert "Nothing is sent before" in page
    assert " min: its people are looked up when it starts." in page


def test_an_empty_overview_says_what_will_be_there(operator):
    text = read_text(operator.get("/overview"))

    assert "Nothing is being sent." in text
    assert "Nothing was sent in the last 30 days." in text


def test_while_sinch_does_not_answer_the_overview_says_since_when_and_leads_to_what_waits(
    make_service,
):
    service = make_service(SINCH_REGION_URL=f"http://127.0.0.1:{unused_port()}")
    viewer, caller = visit(service, Role.VIEWER), Caller(service)

    idle = read_text(viewer.get("/overview"))
    caller.send(*many_numbers(1_200))
    shift_clock(service, 7_200)
    said = viewer.get("/overview")

    since = re.search(
        r"Sinch does not answer since (\d\d:\d\d)\. Texts wait; sending goes on", idle
    )
    words = re.search(r"Sinch does not answer since ([^.]+)\. 1,200 texts wait; ", read_text(said))
    assert words[1].endswith(since[1])  # after midnight with the day before it
    assert said.text.count('href="/broadcasts?status=sending">See what waits</a>') == 2


def test_all_processes_say_the_same_since_when_sinch_does_not_answer(service, operator, sandbox):
    ctx, now = context_of(service), [0.0]

    def begin_process():
        return Readiness(ctx.sinch, clock=lambda: now[0])

    def read_since(process):
        service.extensions["readiness"] = process
        said = re.search(
            "Sinch does not answer since ([^.]+)", read_text(operator.get("/overview"))
        )
        return said and said[1][-5:]

    first, second = begin_process(), begin_process()
    assert read_since(second) is None
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=503, times=None)
    assert read_since(first)
    began = read_since(first)
    assert read_since(second) is None  # what it saw before the fault is no end of it

    shift_clock(service, 7_200)
    assert read_since(begin_process()) == read_since(first) == began
    sandbox.clear_faults()
    now[0] += 20
    assert read_since(second) is None
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=503, times=None)
    assert read_since(begin_process()) not in (None, began)


def test_each_check_that_fails_says_since_when_what_waits_and_where_to_look(
    make_service, service, operator, caller
):
    ctx, now = context_of(service), context_of(service).now()
    broken = id_of(caller.send(ANN, reference="R 1"))
    sweep(ctx)
    caller.send(*many_numbers(1_200))
    violations = [f"broadcast {broken}: 2 planned, 1 in batches"]
    record_consistency(ctx, violations)
    with ctx.db.write() as tx:
        gates.open_circuit(tx, gates.read_gates(tx, ctx.rules, now), ctx.rules, now=now, refusal={})
    stopped = operator.get("/overview")
    shift_clock(service, 7_200)
    stale = read_text(operator.get("/overview"))
    with ctx.db.write() as tx:
        gates.close_circuit(tx)
        gates.begin_restore(tx, now=now, last_broadcast_id=0)
    record_consistency(ctx, ["batch 7: held for too long"])
    caller.post("/api/suppressions/erase", {"phone": ANN})
    viewer = visit(make_service(SUPPRESSION_KEY="another key"), Role.VIEWER)
    restoring, words_page = viewer.get("/overview"), viewer.get("/words").text

    linked = re.findall('href="/words#([a-z-]+)">([^<]+)</a>', restoring.text)
    assert linked == [("wrong-figures", "What to do"), ("suppression-key", "What to set")]
    assert all(f'<div id="{anchor}">' in words_page for anchor, _ in linked)
    restoring = read_text(restoring)
    since = r"since (?:\w{3} \d+ \w{3}(?: \d{4})?, )?\d\d:\d\d"
    words = read_text(stopped)
    assert re.search(
        rf"refuses what we send {since}, so nothing is sent. 1,200 texts wait\.", words
    )
    assert "The figures of “R 1” do not add up since" in words
    assert f"For support: “{violations[0]}”. Show it" in words
    assert f'id="condition-consistency" href="/broadcasts/{broken}"' in stopped.text
    assert re.search(rf"background {since}: no report is recorded", stale)
    assert re.search(rf"so nothing is sent {since}. Sinch is being asked what", restoring)
    assert "Sinch is being asked what came in since. 1,200 texts wait meanwhile." in restoring
    assert "For support: “batch 7: held for too long”. What to do" in restoring
    assert "Nothing is sent until it is set again. What to set" in restoring


def test_after_a_restore_the_overview_says_how_many_batches_are_looked_up(service, caller, sandbox):
    caller.send(*many_numbers(2_200), reference="large")
    ctx = context_of(service)
    plan_broadcast(ctx, 1)
    service.test_cli_runner().invoke(args=["db", "restored"])
    operator = visit(service, Role.OPERATOR)

    first = read_text(operator.get("/overview"))
    reconcile_due_batches(ctx, limit=1)
    second = read_text(operator.get("/overview"))

    assert "Sinch is being asked what went out: 0 of 3 batches. " in first
    assert "Sinch is being asked what went out: 1 of 3 batches. " in second


def test_a_broadcast_that_missed_its_start_needs_attention_until_it_is_stopped(
    service, operator, caller
):
    made = caller.send(ANN, send_at=in_hours(1), reference="R 1")
    shift_clock(service, 5 * 3600)
    sweep(context_of(service))

    said = read_text(operator.get("/overview"))
    caller.act("cancel", made)
    after = read_text(operator.get("/overview"))

    assert "1 thing needs attention" in said
    assert re.search(r"“R 1” missed its start at .*\d\d:\d\d\. Start it or stop it\. Show it", said)
    assert "Needs attention" not in after


def test_a_number_is_explained_in_one_sentence(operator, caller):
    caller.post("/api/suppressions", {"phones": [ANN], "scope": "all"})
    caller.send(ANN, reference="R 1")

    left_out = read_text(operator.look_up("/why", {"number": "+46 70 123 45 67"}, on="/why"))
    unknown = read_text(operator.look_up("/why", {"number": "+46709999999"}, on="/why"))
    led = operator.post("/why", {"number": ANN}, on="/why")
    wrong = operator.look_up("/why", {"number": "07012"}, on="/why")

    assert re.search(r"The newest, of \d\d:\d\d: Left out. The recipient opted out.", left_out)
    assert "Left out. The recipient opted out. R 1" in left_out
    assert "Nothing was sent to this number by any broadcast that is kept." in unknown
    assert "Write the number with its country" in read_text(wrong)
    assert 'value="07012"' in wrong.text
    # The way back is to a page that was read; its address has no number.
    assert led.status_code == 303
    assert ANN.removeprefix("+") not in led.location


def test_an_answer_leads_to_the_person_and_the_broadcast_and_fits_in_the_overview(
    service, operator, caller
):
    caller.post("/api/subscribers", {"phone": ANN, "first_name": "Ann", "last_name": "Berg"})
    broadcast = id_of(caller.send(ANN, message="Hi Ann, doors open"))

    found = operator.look_up("/why", {"number": ANN}, on="/overview")
    masked = visit(service, Role.VIEWER).look_up("/why", {"number": ANN}, on="/why")
    wrong = operator.look_up("/why", {"number": "1"}, on="/overview", **{"HX-Request": "true"})

    assert f'href="/broadcasts/{broadcast}">Hi Ann, doors open</a>' in found.text
    assert "Everything about Ann Berg" in read_text(found)
    assert "Ann" not in read_text(masked).partition("Sinch has it")[2]
    assert "Everything about" not in masked.text
    assert '<div id="why-answer"' in operator.get("/overview").text
    assert '<p class="wrong"><svg' in wrong.text.partition('id="why-answer"')[2]


def test_a_number_is_looked_up_as_people_of_the_default_country_write_it(make_service, sandbox):
    operator = visit(make_service(DEFAULT_COUNTRY="SE"), Role.OPERATOR)

    answer = read_text(operator.look_up("/why", {"number": "070-123 45 67"}, on="/why"))

    assert "Nothing was sent to this number by any broadcast that is kept." in answer


def test_a_decision_needs_a_note_and_is_made_once(operator, caller, in_doubt):
    reference, broadcast = in_doubt
    page = f"/attention/{reference}"
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.05"}})
    text = read_text(operator.get(page))
    assert "They are sent now, for about €0.05 at most." in text
    assert "Most likely they were not sent." in text
    assert reference in text
    assert "Was 1 text of “Pickup moved to 08:30” sent?" in text
    assert "We handed 1 text to Sinch." in text
    assert "No answer came." in text
    assert "It is not known what came of it." in text

    refused = operator.post(page, {"decision": "resend", "note": ""}, on=page)
    assert refused.status_code == 400
    assert "Write why" in read_text(refused)
    decided = operator.post(page, {"decision": "mark_sent", "note": "seen it"}, on=page)
    again = operator.post(page, {"decision": "resend", "note": "again"}, on="/why")

    assert decided.headers["Location"] == f"/broadcasts/{broadcast}"
    assert again.headers["Location"] == "/overview"
    assert "Nothing to decide." in read_text(operator.get("/overview"))
    assert caller.get(f"/api/broadcasts/{broadcast}").get_json()["counts"]["submitted"] == 1


def test_what_was_stopped_is_not_sent_again_by_a_decision(operator, caller, in_doubt, sandbox):
    reference, broadcast = in_doubt
    page = f"/attention/{reference}"
    caller.post(f"/api/broadcasts/{broadcast}/cancel")

    answer = operator.post(page, {"decision": "resend", "note": "again"}, on=page)

    assert answer.headers["Location"] == f"/broadcasts/{broadcast}"
    shown = read_text(operator.get(answer.location))
    assert "Nothing was done. Its broadcast is cancelled: the batch cannot be sent again." in shown


def test_a_page_of_a_decision_says_that_a_colleague_has_decided(operator, in_doubt, service):
    page = f"/attention/{in_doubt[0]}"
    evidence = operator.get(f"{page}/live")
    assert f'hx-get="{page}/live"' in evidence.text
    assert 'id="decision"' not in evidence.text
    decision = {"decision": "mark_sent", "note": "seen it"}
    visit(service, Role.ADMIN).post(page, decision, on=page)

    settled = operator.get(f"{page}/live")

    assert re.search(
        r"Nothing to decide. \d\d:\d\d: a admin decided that 1 text in doubt was sent: “seen it”",
        read_text(settled),
    )
    assert 'id="decision" hx-swap-oob="true"' in settled.text
    assert "hx-get" not in settled.text
    assert operator.get("/attention/cl-nothing/live").status_code == 404


def test_a_page_of_a_decision_says_that_a_report_has_come(operator, in_doubt, service):
    reference = in_doubt[0]
    tell(service.extensions["clarion"], report(ANN, "Delivered", reference=reference))

    settled = read_text(operator.get(f"/attention/{reference}/live"))

    assert re.search(r"Nothing to decide. Sinch has it: that is known since \d\d:\d\d.", settled)


def test_a_sender_cannot_decide(service, sandbox, in_doubt):
    sender = visit(service, Role.SENDER)

    assert "An operator decides." in read_text(sender.get("/overview"))
    assert sender.get(f"/attention/{in_doubt[0]}").status_code == 403


def test_who_wrote_a_text_to_review_counts_in_the_frame(service):
    ctx = service.extensions["clarion"]
    visitor = visit(service, Role.OPERATOR)
    assert "attention" not in read_text(visitor.get("/people"))

    tell(ctx, inbound("+46701234567", "stop it please"))

    assert "1 person wrote something that may mean" in read_text(visitor.get("/overview"))
    assert "Overview 1 needs attention" in read_text(visitor.get("/people"))
