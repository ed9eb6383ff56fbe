"""Pages of broadcasts: the figures add up, what is pressed is done once, numbers are masked."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from app.accounts.roles import Role
from app.db.audit import write_audit
from app.sms.dispatch.canary import judge_canaries
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.draft import StoredDraft
from app.sms.models.states import BatchState
from app.sms.recovery.attention import Decision, resolve_batch
from app.sms.request.model import CanaryRules
from app.web.words import people
from app.worker.jobs import roll_up
from tests.background import context_of, work_off
from tests.callers import id_of
from tests.endings import end_messages, read_batches
from tests.factories import many_numbers
from tests.machine import Machine
from tests.reporting import report, tell
from tests.web.visitor import read_text, visit

ANN, BOB, CEC = "+46701234567", "+46702345678", "+46703456789"
_SUM = re.compile(r"(\d[\d,]*) [\d.]+ %")


@pytest.fixture
def sender(service, sandbox):
    return visit(service, Role.SENDER)


@pytest.fixture
def queued(caller, sandbox):
    """The id of a broadcast that waits for workers, which the tests do not have."""
    return id_of(caller.send(*many_numbers(1_500)))


def show(visitor, broadcast_id, page=""):
    return read_text(visitor.get(f"/broadcasts/{broadcast_id}{page}"))


def read_lines(text):
    """The figures of the ledger's lines, the last of which is the sum."""
    ledger = text.partition("What that means People Share")[2].partition("Adds up")[0]
    return [int(figure.replace(",", "")) for figure in _SUM.findall(ledger)]


def test_everybody_is_in_one_line_with_the_reason_below(sender, caller):
    caller.post("/api/suppressions", {"phones": [BOB], "scope": "all"})
    broadcast = id_of(caller.send(ANN, BOB, *many_numbers(3), "12", skip_invalid=True))

    text = show(sender, broadcast)

    *lines, asked_for = read_lines(text)
    assert (sum(lines), asked_for) == (6, 6)
    assert "On its way Sinch has it and has not reported its end yet. 4 66.7 %" in text
    assert "Left out They were not to get it. 2 33.3 %" in text
    assert "Opted out. 1" in text
    assert "Not a phone number. 1" in text
    assert "Adds up: everybody is in exactly one line." in text


def test_a_large_one_is_paused_resumed_and_stopped(sender, queued):
    assert "Next in the queue" in show(sender, queued)

    for action, state, note in (
        ("pause", "Paused", "Paused. Nothing more is handed to Sinch until it is resumed."),
        ("resume", "Next in the queue", "Resumed. The texts that wait are handed to Sinch."),
    ):
        page = f"/broadcasts/{queued}"
        assert sender.post(f"{page}/{action}", on=page).headers["Location"] == page
        text = show(sender, queued)
        assert state in text
        assert note in text
    panel = show(sender, queued, "/stop")
    assert "1,500 people get nothing." in panel
    assert "Stop, and do not send the 1,500" in panel

    sender.post(f"/broadcasts/{queued}/stop", on=f"/broadcasts/{queued}/stop")

    text = show(sender, queued)
    assert "1,500 people get nothing. No text was at Sinch." in text
    assert "Stopped They get nothing: the broadcast was stopped. 1,500 100 %" in text
    assert "Never handed to Sinch. 1,500" in text
    assert read_lines(text) == [0, 1_500, 1_500]


def test_a_stop_says_what_sinch_called_back(sender, caller, sandbox):
    sandbox.order_fault(on="DELETE /batches/{id}", when="before", do="answer", status=409)
    broadcast = id_of(caller.send(*many_numbers(7)))
    assert "Call the 7 back" in show(sender, broadcast, "/stop")

    sender.post(f"/broadcasts/{broadcast}/stop", on=f"/broadcasts/{broadcast}/stop")

    assert "7 were already at Sinch: 7 had left before." in show(sender, broadcast)


def test_one_whose_people_are_not_looked_up_yet_is_stopped_in_words_without_figures(sender, caller):
    caller.post("/api/subscribers", {"phone": ANN, "tags": ["members"]})
    start = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    body = {"audience": {"any": ["members"]}, "message": "Doors at 19:00", "send_at": start}
    broadcast = caller.post("/api/broadcast", body).get_json()["broadcast_id"]
    assert "They are counted here once they are looked up." in show(sender, broadcast)
    panel = show(sender, broadcast, "/stop")
    assert "Nothing more is handed to Sinch." in panel
    assert "Stop it Pause instead" in panel

    sender.post(f"/broadcasts/{broadcast}/stop", on=f"/broadcasts/{broadcast}/stop")

    assert "It ended before its people were looked up." in show(sender, broadcast)


def test_a_stop_keeps_why_and_what_happened_is_told_by_whom_newest_first(sender, queued):
    page = f"/broadcasts/{queued}"
    sender.post(f"{page}/pause", on=page)
    refused = sender.post(f"{page}/stop", {"note": "x" * 501}, on=f"{page}/stop")
    assert refused.status_code == 400
    assert "Longer than maximum length 500." in read_text(refused)
    assert "x" * 501 in refused.text

    sender.post(f"{page}/stop", {"note": "Wrong <time>"}, on=f"{page}/stop")

    happened = show(sender, queued).partition("What happened")[2]
    order = ("a sender stopped it: “Wrong <time>”", "a sender paused it.", "tests made it.")
    assert [happened.index(each) for each in order] == sorted(map(happened.index, order))
    assert "from +12015550199. a sender stopped it: “Wrong <time>”" in show(sender, queued)


def test_a_pause_by_a_canary_says_what_went_wrong(service, sender, sandbox):
    machine = Machine.over(service.extensions["clarion"])
    broadcast = machine.store(many_numbers(6), canary=CanaryRules(2))
    machine.submit_all()
    (batch,) = (batch for batch in machine.batches() if batch.sinch_id)
    tell(machine.ctx, report(many_numbers(6)[0], "Failed", batch=batch.sinch_id))
    tell(machine.ctx, report(many_numbers(6)[1], "Delivered", batch=batch.sinch_id))
    assert judge_canaries(machine.ctx) == 1

    shown = show(sender, machine.broadcast(broadcast).public_id)

    assert "Its first texts paused it: 1 of 2 failed, 0 opted out." in shown


def test_a_decision_and_an_approval_are_part_of_what_happened(service, sender, caller, sandbox):
    sandbox.order_fault(on="POST /batches", when="before", do="cut")
    broadcast, ctx = id_of(caller.send(ANN)), context_of(service)
    path = f"/api/broadcasts/{broadcast}/messages"
    reference = caller.get(path).get_json()["messages"][0]["client_reference"]
    with ctx.db.write() as tx:
        tx.execute(update(Batch).values(state=BatchState.NEEDS_ATTENTION))
        draft = {"public_id": "01DRAFT", "version": 3, "title": "t", "body": {}}
        draft |= {f"{kind}_at": ctx.now() for kind in ("created", "changed")}
        draft |= {f"{kind}_by": "Jo" for kind in ("created", "changed")}
        sent = select(Broadcast.id).scalar_subquery()
        tx.execute(insert(StoredDraft).values(**draft, broadcast_id=sent))
        write_audit(tx, ctx.now(), "people:Jo", "approve draft", "01DRAFT")
    resolve_batch(ctx, reference, Decision.GIVE_UP, actor="cli:root", note="asked Sinch")

    text = show(sender, broadcast)

    assert "Jo approved it." in text
    assert "root closed 1 text in doubt; nothing is sent again: “asked Sinch”" in text


def test_pressed_twice_or_too_late_nothing_more_is_done(sender, queued, caller):
    page = f"/broadcasts/{queued}"
    for _ in range(2):
        assert sender.post(f"{page}/stop", on=page).status_code == 303

    assert caller.get(f"/api{page}").get_json()["counts"]["cancelled"] == 1_500
    sender.post(f"{page}/pause", on=page)
    text = show(sender, queued)
    assert "Nothing was done. A broadcast that is cancelled cannot be paused." in text
    assert "Stop…" not in text
    assert sender.get(f"{page}/stop").headers["Location"] == page


def test_a_region_polls_until_all_is_reported_and_more_slowly_while_nothing_changes(
    sender, queued, caller
):
    page = sender.get(f"/broadcasts/{queued}").text
    region = _read_poll(page)
    assert "delay:2.0s" in page

    again = sender.get(region).text
    assert "delay:3.0s" in again
    assert 'id="head"' not in again

    caller.post(f"/api/broadcasts/{queued}/pause")
    changed = sender.get(region).text
    assert "delay:15.0s" in changed
    assert 'id="head" hx-swap-oob="true"' in changed
    assert "Paused" in read_text(sender.get(region))


def _read_poll(page):
    return re.search(r'id="live" hx-get="([^"]+)"', page)[1].replace("&amp;", "&")


def test_people_are_listed_by_where_they_are(sender, caller):
    caller.post("/api/suppressions", {"phones": [BOB], "scope": "all"})
    broadcast = id_of(caller.send(ANN, BOB))

    everybody = show(sender, broadcast, "/people")
    left_out = show(sender, broadcast, "/people?status=suppressed")

    assert ANN in everybody
    assert BOB in everybody
    assert ANN not in left_out
    assert "Opted out. 1" in left_out
    assert f"{BOB} Left out The recipient opted out." in left_out
    assert f"All {2}" in left_out
    assert "No one is in this line now." in show(sender, broadcast, "/people?status=delivered")


def test_each_figure_leads_to_exactly_its_people_and_to_their_file(service, sender, caller):
    caller.post("/api/suppressions", {"phones": [BOB], "scope": "all"})
    others = many_numbers(6)
    broadcast = id_of(made := caller.send(ANN, BOB, *others))
    ends = [("Delivered", 0), ("Failed", 153), ("Rejected", 402), ("Unknown", 0), ("Expired", 406)]
    end_messages(context_of(service), made, dict(zip([ANN, *others], ends, strict=False)))

    page = sender.get(f"/broadcasts/{broadcast}").text
    links = re.findall(r'<a id="line-[^"]+" href="([^"]+)"><span class="figure">([\d,]+)<', page)

    assert len(links) == 10
    for address, figure in links:
        found = sender.get(address := address.replace("&amp;", "&")).text
        assert found.count('<td class="name">') == int(figure), address
        assert f'href="{address}" aria-current="page"'.replace("&", "&amp;") in found
        file = re.search(r'href="([^"]+)">Download as CSV', found)[1].replace("&amp;", "&")
        assert len(sender.get(file).text.splitlines()) == 1 + int(figure), file


def test_a_file_of_people_is_for_senders(service, sandbox, caller):
    broadcast = id_of(caller.send(ANN))
    author = visit(service, Role.AUTHOR)

    assert "Download as CSV" not in show(author, broadcast, "/people")
    assert author.get(f"/broadcasts/{broadcast}/people.csv").status_code == 403
    assert author.get(f"/broadcasts/{broadcast}/people?status=bogus").status_code == 400


def test_a_viewer_sees_figures_but_no_number_and_presses_nothing(service, sandbox, caller, queued):
    viewer = visit(service, Role.VIEWER)
    broadcast = id_of(caller.send(ANN))

    text = show(viewer, broadcast, "/people")
    assert ANN not in text
    assert "+46•••••••67" in text
    assert "Pause" not in show(viewer, queued)
    for action in ("pause", "resume", "stop"):
        refused = viewer.post(f"/broadcasts/{queued}/{action}", on=f"/broadcasts/{queued}")
        assert refused.status_code == 403
        assert "it needs the role sender" in read_text(refused)
    assert caller.get(f"/api/broadcasts/{queued}").get_json()["status"] == "queued"


def test_the_list_is_filtered_and_goes_on(sender, caller, queued):
    for number in range(51):
        caller.send(ANN, message=f"number {number}")

    first = sender.get("/broadcasts")
    older = re.search(r'href="([^"]+)">Older', first.text)[1].replace("&amp;", "&")
    paused = read_text(sender.get("/broadcasts?status=paused"))

    assert "number 50" in read_text(first)
    assert "number 0 " in read_text(sender.get(older))
    assert "No broadcast is in this state." in paused
    assert sender.get("/broadcasts?status=bogus").status_code == 400
    assert sender.get("/broadcasts/unknown").status_code == 404


def test_a_broadcast_of_a_program_is_shown_under_its_reference_escaped(sender, caller):
    hostile = "<script>alert(1)</script>"
    broadcast = id_of(caller.send(ANN, reference="R 1", message=hostile))

    page = sender.get(f"/broadcasts/{broadcast}")

    assert "<h1>R 1</h1>" in page.text
    assert hostile not in page.text
    assert hostile in read_text(page)


def test_numbers_of_people_are_written_with_commas():
    assert people(12431) == "12,431 people"


def test_those_not_reached_are_sent_to_again_once(service, sender, caller):
    broadcast = id_of(made := caller.send(ANN, BOB))
    region = _read_poll(sender.get(f"/broadcasts/{broadcast}").text)
    assert "Send to the" not in read_text(sender.get(region))
    end_messages(context_of(service), made, {ANN: ("Failed", 153), BOB: ("Delivered", 0)})
    settled = sender.get(region)
    assert 'id="again" hx-swap-oob="true"' in settled.text
    assert "Send to the 1 not reached" in read_text(settled)
    text = show(sender, broadcast)
    assert "Send to the 1 not reached" in text
    assert "1 of 2 people got it (50.0 %). 1 was not reached." in text
    assert "1 of those not reached is worth another try: the same text, once." in text

    early = sender.post(f"/broadcasts/{broadcast}/resend", {"people": "0"}, on="/broadcasts")
    assert early.headers["Location"] == f"/broadcasts/{broadcast}"
    assert "More people were not reached by now: look again." in show(sender, broadcast)
    first = sender.post(f"/broadcasts/{broadcast}/resend", {"people": "1"}, on="/broadcasts")
    again = sender.post(f"/broadcasts/{broadcast}/resend", {"people": "1"}, on="/broadcasts")

    page = first.headers["Location"]
    assert again.headers["Location"] == page != f"/broadcasts/{broadcast}"
    assert "Sent again to 1 person." in read_text(sender.get(page))
    text = show(sender, broadcast)
    assert re.search(r"Sent again to 1, \d\d:\d\d, by a sender. Show the new broadcast", text)
    assert "a sender sent it again to 1 person." in text
    assert "Send to the" not in show(sender, broadcast)


def test_those_whom_a_stop_kept_the_text_from_are_not_sent_to_again(service, sender, caller):
    broadcast = id_of(made := caller.send(ANN, BOB, CEC))
    ends = {ANN: ("Failed", 153), BOB: ("Cancelled", 407), CEC: ("Delivered", 0)}
    end_messages(context_of(service), made, ends)
    assert "Send to the 1 not reached" in show(sender, broadcast)

    again = sender.post(f"/broadcasts/{broadcast}/resend", {"people": "1"}, on="/broadcasts")

    assert "Sent again to 1 person." in read_text(sender.get(again.headers["Location"]))


def test_what_it_costs_to_send_again_is_said_before(service, sender, caller):
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.045"}})
    broadcast = id_of(made := caller.send(ANN, BOB, CEC))
    ends = {ANN: ("Failed", 153), BOB: ("Failed", 153), CEC: ("Delivered", 0)}
    end_messages(context_of(service), made, ends)
    assert "worth another try: the same text, once, about €0.09." in show(sender, broadcast)

    caller.post("/api/suppressions", {"phone": BOB})

    text = show(sender, broadcast)
    assert "once, about €0.04. 1 person would be left out now" in text


def test_the_cost_for_many_people_comes_behind_the_page(service, sender, caller):
    numbers = many_numbers(1_001)
    broadcast = id_of(caller.send(*numbers))
    ctx = context_of(service)
    work_off(service)
    batches = read_batches(ctx, broadcast)
    ends = [report(number, "Failed", code=153, batch=batches[number]) for number in numbers]
    for start in range(0, len(ends), 500):  # as many as are applied at a time
        tell(ctx, *ends[start : start + 500])
    page = sender.get(f"/broadcasts/{broadcast}")
    assert "No prices are stored" not in read_text(page)

    behind = sender.get(re.search(r'hx-get="([^"]+counted=1)"', page.text)[1])

    assert "Send to the 1,001 not reached" in read_text(behind)
    assert "No prices are stored, so the cost is not known." in read_text(behind)
    assert "counted=1" not in behind.text


def test_a_curve_and_the_countries_are_shown_with_their_figures(service, sender, caller):
    american = "+12025550123"
    broadcast = id_of(made := caller.send(ANN, BOB, american))
    assert "How quickly it arrived" not in show(sender, broadcast)
    ends = {ANN: ("Delivered", 0), BOB: ("Delivered", 0), american: ("Failed", 153)}
    end_messages(context_of(service), made, ends)

    page = sender.get(f"/broadcasts/{broadcast}")

    text = read_text(page)
    assert "How quickly it arrived Half by" in text
    assert re.search(r"Until Delivered Share .* 2 66.7 %", text)
    assert "Sweden 2 2 100 % United States 0 1 0 % Together 2 3 66.7 %" in text
    assert 'aria-label="Delivered 0, not reached 1, without an end 0"' in page.text
    assert "not in it yet" not in text


def test_figures_of_a_large_one_that_are_not_counted_yet_are_said_to_be_missing(
    service, sender, queued
):
    ctx = context_of(service)
    work_off(service)
    batches = read_batches(ctx, queued)
    ends = [report(number, "Delivered", batch=batches[number]) for number in many_numbers(40)]
    tell(ctx, *ends)

    assert "40 texts delivered just now are not in it yet" in show(sender, queued)
    roll_up(ctx)
    text = show(sender, queued)
    assert "Together 40 1,500 2.7 %" in text
    assert "not in it yet" not in text


def test_a_broadcast_that_still_runs_is_not_sent_again(sender, queued):
    sender.post(f"/broadcasts/{queued}/resend", on="/broadcasts")

    assert "Nothing was done." in show(sender, queued)
