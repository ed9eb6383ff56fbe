"""What a text from a phone changes, and the one answer it gets."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.config.keys import OWN_CLIENT
from app.sms.inbound.receive import fetch_inbounds_when_due
from app.sms.models.states import BatchState
from app.sms.reports.reconcile import fetch_due_reports
from app.subscribers.consent.ledger import read_events
from app.subscribers.models import Cause, ConsentKind, Subscriber, SubscriberTag, Suppression, Tag
from app.subscribers.suppressions.store import read_suppressions, release
from tests.people import suppress
from tests.reporting import inbound, inbounds, read_all, report, tell

ANN, BOB = "+46701234567", "+46707654321"
OURS = "+12015550199"
# The sandbox reports this one as opted out.
CARRIER_OPTED_OUT = "+12015550105"


class Phone:
    """A person with a phone, and what we know and sent of them."""

    def __init__(self, machine, number=ANN):
        self.machine, self.number, self.texts = machine, number, 0

    def text(self, body, *, ago_s=0, to=OURS, **more):
        """Text us, so long ago; Sinch tells of it now."""
        self.texts += 1
        at = self.machine.ctx.now() - timedelta(seconds=ago_s)
        name = f"01{self.number[1:]}N{self.texts}"
        told = {"to": to.lstrip("+"), "received_at": at.isoformat()} | more
        raw = inbound(self.number, body, name=name, **told)
        tell(self.machine.ctx, raw)
        return raw

    def suppression(self):
        with self.machine.ctx.db.read() as tx:
            return read_suppressions(tx, self.machine.ctx.subscriber_context, [self.number]).get(
                self.number
            )

    def is_suppressed(self):
        found = self.suppression()
        return found is not None and found.active

    def ledger(self):
        """Kind, wording and channel of each link, the oldest first."""
        with self.machine.ctx.db.read() as tx:
            return [
                (link["kind"], link["wording"], link["channel"])
                for link in read_events(tx, self.number)
            ]

    def subscriber(self):
        rows = read_all(self.machine.ctx, Subscriber)
        return next(row for row in rows if row.phone == self.number)

    def replies(self, at_sinch):
        """The texts that Sinch was handed for it, the oldest first."""
        self.machine.submit_all()
        digits = self.number.lstrip("+")
        return [each["body"] for each in at_sinch() if digits in each["to"]]


@pytest.fixture
def ann(either_machine):
    return Phone(either_machine)


@pytest.fixture
def phone(machine):
    """The same on SQLite alone, for what no database decides."""
    return Phone(machine)


def with_people_rules(phone, **rules):
    ctx = phone.machine.ctx
    ctx = replace(ctx, subscriber_rules=replace(ctx.subscriber_rules, **rules))
    return Phone(replace(phone.machine, ctx=ctx), phone.number)


def add_subscriber(phone, **more):
    now = phone.machine.ctx.now()
    times = {"consented_at": now, "subscribed_at": now, "updated_at": now}
    values = {"phone": phone.number, "public_id": f"s{phone.number[1:]}", "active": True}
    phone.machine.add(Subscriber, **values | times | more)


def add_tag(phone, name, *, asked=True):
    now = phone.machine.ctx.now()
    phone.machine.add(Tag, name=name, double_opt_in=True, created_at=now)
    tag = next(row.id for row in read_all(phone.machine.ctx, Tag) if row.name == name)
    waiting = {"confirmed": False, "opt_in_requested_at": now if asked else None}
    person = phone.subscriber().id
    phone.machine.add(SubscriberTag, tag_id=tag, subscriber_id=person, **waiting)


def test_a_stop_suppresses_is_on_record_and_is_confirmed_once(ann, at_sinch):
    machine = ann.machine
    add_subscriber(ann)
    machine.store([ANN, BOB])
    machine.submit()
    ann.text("Please STOP!")
    ann.text("stop")
    again = machine.store([ANN, BOB])

    assert ann.replies(at_sinch)[1:] == [
        "You are unsubscribed and will get no more messages. Reply START to resubscribe."
    ]
    assert at_sinch()[-2]["from"] == OURS.lstrip("+")
    found = ann.suppression()
    assert (found.cause, found.needs_review, found.actor) == (Cause.STOP, False, "phone")
    assert ann.ledger() == [
        (ConsentKind.OPT_OUT, "Please STOP!", "sms"),
        (ConsentKind.OPT_OUT, "stop", "sms"),
    ]
    assert ann.subscriber().consented_at is None
    assert machine.counts(again) == {"submitted": 1, "suppressed": 1}
    assert machine.violations() == []


def test_what_may_be_a_stop_suppresses_silently_until_somebody_looks(phone, at_sinch):
    phone.text("please cancel")
    assert phone.suppression().needs_review
    assert phone.replies(at_sinch) == []

    phone.text("STOP")
    assert not phone.suppression().needs_review
    assert len(phone.replies(at_sinch)) == 1


def test_a_start_lifts_what_a_stop_asked_for(ann, at_sinch):
    add_subscriber(ann)
    ann.text("STOP", ago_s=60)
    ann.text("START", ago_s=30)
    ann.text("START")

    assert not ann.is_suppressed()
    assert ann.subscriber().consented_at is not None
    assert [kind for kind, *_ in ann.ledger()] == [
        ConsentKind.OPT_OUT,
        ConsentKind.OPT_IN,
        ConsentKind.OPT_IN,
    ]
    replies = ann.replies(at_sinch)
    assert len(replies) == 2
    assert replies[1].startswith("You are subscribed again")


def test_a_start_from_before_the_stop_or_of_long_ago_lifts_nothing(phone):
    for person, (stopped_s, started_s) in enumerate([(60, 90), (60, 60), (200_000, 90_000)]):
        someone = Phone(phone.machine, f"+4670123456{person}")
        someone.text("STOP", ago_s=stopped_s)
        someone.text("START", ago_s=started_s)

        assert someone.is_suppressed()
        assert [kind for kind, *_ in someone.ledger()] == [ConsentKind.OPT_OUT]


def test_a_start_does_not_lift_what_somebody_here_entered(phone, at_sinch):
    ctx = phone.machine.ctx
    with ctx.db.write() as tx:
        suppress(tx, ctx.subscriber_context, ANN, cause=Cause.MANUAL, actor="op", at=ctx.now())
    add_subscriber(phone, consented_at=None)
    phone.machine.clock.advance(10)

    phone.text("START")

    assert phone.is_suppressed()
    assert phone.ledger() == []
    assert phone.replies(at_sinch) == []


def test_a_stop_that_comes_behind_a_later_release_changes_nothing(phone, at_sinch):
    ctx = phone.machine.ctx
    with ctx.db.write() as tx:
        suppress(tx, ctx.subscriber_context, ANN, cause=Cause.MANUAL, actor="op", at=ctx.now())
        phone.machine.clock.advance(60)
        release(tx, ctx.subscriber_context, ANN, at=ctx.now(), actor="op", by_phone=False)

    phone.text("STOP", ago_s=30)

    assert not phone.is_suppressed()
    assert (phone.ledger(), phone.replies(at_sinch)) == ([], [])


def test_a_yes_confirms_the_tags_that_were_asked_about(ann, at_sinch):
    add_subscriber(ann, consented_at=None)
    add_tag(ann, "news")
    add_tag(ann, "not asked yet", asked=False)
    ann.machine.clock.advance(60)

    ann.text("Yes please")
    ann.text("yes")

    borne = {row.tag_id: row.confirmed for row in read_all(ann.machine.ctx, SubscriberTag)}
    assert list(borne.values()) == [True, False]
    assert ann.ledger() == [(ConsentKind.CONFIRMED, "Yes please", "sms")]
    assert ann.subscriber().consented_at is not None
    assert len(ann.replies(at_sinch)) == 1


def test_a_yes_that_confirms_nothing_is_nothing(phone, at_sinch):
    add_subscriber(phone, consented_at=None)
    phone.text("YES")

    assert (phone.ledger(), phone.replies(at_sinch)) == ([], [])
    assert phone.subscriber().consented_at is None


def test_help_is_answered_once_an_hour(phone, at_sinch):
    asked = with_people_rules(phone, help_text="Example Clinic, 555-0100")

    answered = []
    for _ in range(3):
        asked.text("HELP")
        answered.append(len(asked.replies(at_sinch)))
        asked.machine.clock.advance(1_801)

    assert answered == [1, 1, 2]
    assert set(asked.replies(at_sinch)) == {"Example Clinic, 555-0100"}


def test_nobody_gets_more_than_five_answers_a_day(phone, at_sinch):
    for _ in range(5):
        phone.text("STOP")
        phone.machine.clock.advance(60)
        phone.text("START")
        phone.machine.clock.advance(60)

    assert len(phone.replies(at_sinch)) == 5
    phone.machine.clock.advance(86_400)
    phone.text("STOP")
    assert len(phone.replies(at_sinch)) == 6


def test_where_the_network_answers_or_nothing_can_be_answered_we_are_silent(phone, at_sinch):
    cases = [
        ("STOP", "+18005550100", 0),
        ("STOP", "+18885550100", 0),
        ("HELP", "+18005550100", 1),
        ("STOP", "+18015550100", 1),
        ("STOP", "71234", 0),
        ("STOP", "Acme", 0),
    ]
    for person, (body, to, answers) in enumerate(cases):
        someone = Phone(phone.machine, f"+4670123456{person}")
        someone.text(body, to=to)

        assert len(someone.replies(at_sinch)) == answers, to
        assert someone.is_suppressed() is (body == "STOP")


def test_our_own_numbers_and_words_are_not_answered(phone, at_sinch):
    own = Phone(phone.machine, OURS)
    own.text("STOP")
    phone.text("You are unsubscribed and will get no more messages. Reply START to resubscribe.")

    assert not phone.is_suppressed()
    assert own.replies(at_sinch) == phone.replies(at_sinch) == []


def test_answers_can_be_switched_off(phone, at_sinch):
    silent = with_people_rules(phone, opt_out_replies=False)
    silent.text("STOP")

    assert silent.is_suppressed()
    assert silent.replies(at_sinch) == []


def test_a_text_of_hours_ago_is_obeyed_and_not_answered(phone, at_sinch):
    phone.text("STOP", ago_s=7_200)

    assert phone.is_suppressed()
    assert phone.replies(at_sinch) == []


def test_an_answer_is_in_the_language_of_the_text_else_the_person_s(phone, at_sinch):
    cases = [
        ("SLUTA", "de", "fr", "Du är avregistrerad"),
        ("STOP", "de-AT", "fr", "Sie sind abgemeldet"),
        ("STOP", "xx", "fr", "Désabonnement"),
        ("STOP", None, "xx", "You are unsubscribed"),
        ("AVMELD", None, "en", "Du er avmeldt"),
    ]
    for person, (body, known, default, begins) in enumerate(cases):
        someone = Phone(phone.machine, f"+4670123456{person}")
        local = with_people_rules(someone, default_language=default)
        add_subscriber(local, language=known)
        local.text(body)

        [reply] = local.replies(at_sinch)
        assert reply.startswith(begins)


def test_an_answer_that_could_not_go_within_the_hour_never_goes(phone, at_sinch):
    phone.text("STOP")
    phone.machine.clock.advance(3_601)

    assert phone.replies(at_sinch) == []
    assert phone.machine.states() == [BatchState.EXPIRED]


def test_what_somebody_texts_behind_our_answer_still_answers_the_client(ann):
    broadcast = ann.machine.store([ANN])
    ann.machine.submit_all()
    ann.text("HELP")
    ann.machine.submit_all()
    ann.text("thanks")

    assert {row.broadcast_id for row in inbounds(ann.machine.ctx)} == {broadcast}
    assert [each.client for each in read_all_broadcasts(ann)] == ["tests", OWN_CLIENT]


def read_all_broadcasts(phone):
    return [phone.machine.broadcast(each.broadcast_id) for each in phone.machine.batches()]


def test_a_stop_found_in_sinch_s_list_is_heard_like_any_other(either_machine, sandbox):
    ann = Phone(either_machine)
    sandbox.text_from(ANN, "STOP")
    fetch_inbounds_when_due(either_machine.ctx)

    assert ann.is_suppressed()
    assert [each[:2] for each in ann.ledger()] == [(ConsentKind.OPT_OUT, "STOP")]


def test_what_is_no_text_of_a_number_asks_for_nothing(phone):
    phone.text("STOP", type="mo_binary", udh="00")
    phone.text("STOP", **{"from": "71234"})

    assert read_all(phone.machine.ctx, Suppression) == []


def test_who_opted_out_at_the_carrier_is_suppressed(ann):
    machine = ann.machine
    add_subscriber(ann)
    machine.store([ANN, BOB])
    machine.submit()
    batch = machine.batch().sinch_id

    for _ in range(2):
        tell(
            machine.ctx,
            report(ANN, "Failed", 257, batch=batch),
            report(BOB, "Failed", 255, batch=batch),
        )

    assert ann.suppression().cause is Cause.CARRIER
    assert ann.ledger() == [(ConsentKind.OPT_OUT, "code 257", "carrier")]
    assert ann.subscriber().consented_at is None
    assert not Phone(machine, BOB).is_suppressed()
    ann.machine.clock.advance(60)
    ann.text("START")
    assert not ann.is_suppressed()


@pytest.mark.parametrize(
    ("status", "code", "suppressed"),
    [
        ("Delivered", 257, True),
        ("Dispatched", 257, True),
        ("Deleted", 257, True),
        ("Deleted", 0, False),
        ("Failed", 255, False),
    ],
)
def test_code_257_is_an_opt_out_with_any_status_and_deleted_alone_is_none(
    ann, status, code, suppressed
):
    ann.machine.store([ANN])
    ann.machine.submit()

    tell(ann.machine.ctx, report(ANN, status, code, batch=ann.machine.batch().sinch_id))

    assert ann.is_suppressed() is suppressed


def test_a_report_on_a_batch_that_is_not_ours_suppresses_nobody(phone):
    tell(phone.machine.ctx, report(ANN, "Failed", 257, batch="01FOREIGN"))

    assert not phone.is_suppressed()


def test_who_is_found_to_have_opted_out_when_sinch_is_asked_is_suppressed(ann, sandbox):
    opted_out = Phone(ann.machine, CARRIER_OPTED_OUT)
    ann.machine.store([ANN, opted_out.number])
    ann.machine.submit()
    sandbox.advance(60)
    ann.machine.clock.advance(3_600)

    fetch_due_reports(ann.machine.ctx)

    assert opted_out.suppression().cause is Cause.CARRIER
    assert opted_out.ledger() == [(ConsentKind.OPT_OUT, "code 257", "carrier")]
    assert not ann.is_suppressed()
