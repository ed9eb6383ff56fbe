"""The overview: what needs attention, what runs, what is scheduled, the last 30 days, and why."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import current_app, render_template, request, url_for
from sqlalchemy import Row
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import NotFound
from app.health import Readiness
from app.http.reasons import capitalize
from app.phone.e164 import inspect_number
from app.sms.analytics.query import AnalyticsQuery, Figures, read_analytics
from app.sms.broadcasts.progress import count_waiting
from app.sms.broadcasts.views import BroadcastView, list_newest, list_stuck
from app.sms.context import Context
from app.sms.current import current_context
from app.sms.drafts.approval import list_asked
from app.sms.drafts.resend import list_asked_resends
from app.sms.lifecycle.find import find_broadcast
from app.sms.messages.search import search_messages
from app.sms.models.daily import Dimension
from app.sms.models.states import BroadcastStatus
from app.sms.models.statuses import MessageStatus
from app.sms.operations.restore import count_looked_up
from app.sms.recovery.attention import find_attention
from app.subscribers.profiles.search import find_by_numbers
from app.subscribers.suppressions.manage import count_to_review
from app.web.admin.caps import say_used_caps
from app.web.broadcasts.accounting import MARKS, account_for
from app.web.broadcasts.states import (
    describe_state,
    is_moving,
    name_row,
    say_audience,
    say_end,
    say_growth,
)
from app.web.guard import make_page_blueprint, read_once, read_page_health, require_role
from app.web.new.figures import add_amounts
from app.web.searches import MAX_SEARCH, find_search, go_to_search
from app.web.subscribers.wording import read_number, show_name, show_text
from app.web.words import clock_time, people, texts

blueprint = make_page_blueprint("overview")

_RUNNING = (
    BroadcastStatus.SENDING,
    BroadcastStatus.QUEUED,
    BroadcastStatus.PAUSED,
    BroadcastStatus.HALTED,
    BroadcastStatus.MISSED_START,
)
_SHOWN = 20
_CHART_DAYS = 30
_MESSAGES_SHOWN = 5
_NAME_CHARACTERS = 60
_NOTHING_SENT = (
    "Nothing was sent to this number by any broadcast that is kept. Texts and numbers are kept for "
    "{days} days after all is reported."
)
_LOOKS_WRONG = " No country has such numbers: look for a typing error."
_QUICK_S, _SLOW_S = 2, 15
# Sentences of the checks of /ready that fail, by check and result, the most urgent first; each says
# what to do.
_CONDITIONS = {
    ("sinch", "unreachable"): "Sinch does not answer{since}.\n{waiting}; sending goes on by itself "
    "when it does.",
    ("sinch", "misconfigured"): "Sinch refuses our account or token{since}, so nothing is sent.\n"
    "{waiting}. Check SINCH_SERVICE_PLAN_ID, SINCH_API_TOKEN and SINCH_REGION_URL, and the balance "
    "of the account.",
    ("sending", "stopped"): "Sinch refuses what we send{since}, so nothing is sent.\n{waiting}. "
    "Check the account and the sender; a trial goes out by itself, and flask circuit close tries "
    "at once.",
    ("sending", "restoring"): "The database came from a backup, so nothing is sent{since}.\nSinch "
    "is being asked what {asked}. {waiting} meanwhile.",
    ("background", "stale"): "Nothing works in the background{since}: no report is recorded.\n"
    "{waiting}. Start the service or its workers again.",
    ("broker", "unreachable"): "The broker does not answer{since}.\nBroadcasts of more than 1,000 "
    "people wait until it does.",
    ("consistency", "failed"): "The figures of {broken} do not add up{since}.\nTexts are not sent "
    "twice by that, but do not trust the figures. For support: “{violation}”.",
    ("suppression_key", "mismatch"): "SUPPRESSION_KEY is not the key of the stored opt-outs.\n"
    "Nothing is sent until it is set again.",
}


@dataclass(frozen=True, slots=True)
class AttentionItem:
    """Something that needs attention: what is so, on a second line what follows, and its action.

    The action has a link, a word and a role.
    """

    key: str
    sentence: str
    href: str = ""
    action: str = ""
    role: Role = Role.OPERATOR


@blueprint.get("/overview")
@require_role(Role.VIEWER)
def show_overview() -> str:
    """Show what needs attention, runs and is scheduled, and the last 30 days."""
    ctx = current_context()
    return render_template("overview/page.html", days=_read_days(ctx), **_describe_now(ctx))


@blueprint.get("/overview/live")
@require_role(Role.VIEWER)
def show_overview_region() -> str:
    """Show the part of the overview that moves."""
    return render_template("overview/live.html", **_describe_now(current_context()))


@blueprint.get("/why")
@require_role(Role.VIEWER)
def show_why() -> str:
    """Say why the number of a search did not get a text."""
    number = find_search()
    phone = _read(number)
    answer = _explain(current_context(), phone) if phone else None
    return render_template("why.html", number=number, answer=answer, error="")


@blueprint.post("/why")
@require_role(Role.VIEWER)
def look_up() -> Response | str:
    """Lead to why a number did not get a text."""
    number = request.form.get("number", "").strip()[:MAX_SEARCH]
    if _read(number):
        return go_to_search("overview.show_why", number)
    error = "Write the number with its country, such as +46 70 174 06 21."
    return render_template("why.html", number=number, answer=None, error=error)


def _read(number: str) -> str | None:
    """Return a number in E.164, None for what is none."""
    try:
        return read_number(number)
    except ValueError:
        return None


def _explain(ctx: Context, phone: str) -> dict[str, Any]:
    """Return one sentence on a number, and what the newest broadcasts came to for it."""
    found = search_messages(ctx, recipient=phone, limit=_MESSAGES_SHOWN)
    row = find_by_numbers(ctx.subscriber_context, [phone]).get(phone)
    person = row._asdict() if row else None
    rows = []
    for message in found["messages"]:
        word = MARKS[MessageStatus(message["status"])][1]
        at = message["at"] or message["created_at"]
        name = message["reference"] or show_text(message["text"], person)
        bold = f"{word}."
        reason = "" if message["reason"] == bold else f"{message['reason']} "
        rows.append(
            {
                "time": clock_time(at, ctx.now()),
                "bold": bold,
                "sentence": reason,
                "name": name[:_NAME_CHARACTERS],
                "broadcast_id": message["broadcast_id"],
            }
        )
    typing = "" if inspect_number(phone).valid else _LOOKS_WRONG
    sentence = _NOTHING_SENT.format(days=ctx.rules.messages_kept_days) + typing
    if rows:  # in words and times of the pages, where that has those of the API
        written = clock_time(found["messages"][0]["created_at"], ctx.now())
        sentence = f"The newest, of {written}: {rows[0]['bold']} {rows[0]['sentence']}".rstrip()
    return {
        "sentence": sentence,
        "rows": rows,
        "person": show_name(person, phone),
        "person_id": row.public_id if row else None,
    }


def _describe_now(ctx: Context) -> dict[str, Any]:
    views = list_newest(ctx, (*_RUNNING, BroadcastStatus.SCHEDULED), limit=_SHOWN)
    running = [view for view in views if view.row.status in _RUNNING]
    scheduled = [view for view in views if view.row.status is BroadcastStatus.SCHEDULED]
    scheduled.sort(key=lambda view: view.row.send_at)
    moving = any(is_moving(view) for view in running)
    conditions = _list_conditions(ctx)
    return {
        "heading": _say_heading(len(conditions), len(running), len(scheduled)),
        "pace": _say_pace(running, ctx.now()),
        "running": [_show_broadcast(view) for view in running[:_SHOWN]],
        "scheduled": [_show_broadcast(view) for view in scheduled],
        "conditions": conditions,
        "poll_s": _QUICK_S if moving else _SLOW_S,
        "seen_at": ctx.now(),
    }


def _say_heading(conditions: int, running: int, scheduled: int) -> str:
    """Return the title of the overview.

    >>> _say_heading(0, 0, 0), _say_heading(2, 1, 0)
    ('Nothing is under way.', '2 things need attention, 1 broadcast is under way.')
    """
    counts = (
        (conditions, "1 thing needs attention", "{} things need attention"),
        (running, "1 broadcast is under way", "{} broadcasts are under way"),
        (scheduled, "1 is scheduled", "{} are scheduled"),
    )
    parts = [one if n == 1 else many.format(n) for n, one, many in counts if n]
    sentence = ", ".join(parts) or "nothing is under way"
    return f"{capitalize(sentence)}."


def _say_pace(running: list[BroadcastView], now: datetime) -> str:
    """Return how quickly texts leave and when the last one has left; "" if none leaves."""
    progress = [view.progress for view in running if is_moving(view)]
    per_second = sum(each.per_second or 0 for each in progress)
    if not per_second:
        return ""
    pace = f"{per_second:,.0f} texts a second leave" if per_second >= 2 else "Texts leave"
    ends = [each.finishes_at for each in progress if each.queue_position]
    if not ends or None in ends:
        return f"{pace}."
    last = clock_time(max(end for end in ends if end), now)
    return f"{pace}; the queue is empty at about {last}."


def _show_broadcast(view: BroadcastView) -> dict[str, Any]:
    accounting = account_for(view)
    return {
        "id": view.row.public_id,
        "name": name_row(view.row),
        "state": describe_state(view),
        "accounting": accounting,
        "audience": say_audience(view, accounting),
        "end": say_end(view),
    }


def _list_conditions(ctx: Context) -> list[AttentionItem]:
    """Return what needs attention, the most urgent first."""
    readiness: Readiness = current_app.extensions["readiness"]
    facts = readiness.check(ctx, read=read_page_health)
    failing = [key for key in _CONDITIONS if facts.get(key[0]) == key[1]]
    conditions = [_describe_check(ctx, *key) for key in failing]
    for batch in find_attention(ctx, limit=_SHOWN):
        went = f"It is not known whether {texts(batch.size)} of “{name_row(batch)}” went out."
        at = clock_time(batch.unknown_at or ctx.now(), ctx.now())
        sentence = f"{went}\nSinch gave no usable answer, {at}. Nothing is sent again by itself."
        href = url_for("attention.show_decision", reference=batch.client_reference)
        conditions.append(AttentionItem(batch.client_reference, sentence, href, "Decide"))
    if review := _describe_review(ctx):
        conditions.append(review)
    for number, sentence in enumerate(say_used_caps(ctx)):
        href = url_for("caps.list_all")
        conditions.append(AttentionItem(f"cap-{number}", sentence, href, "Caps", Role.ADMIN))
    for draft in read_once(list_asked, ctx):
        href = url_for("new_confirm.show", draft_id=draft.public_id)
        sentence = f"“{draft.title}” {_say_approval(draft, ctx.now())}"
        conditions.append(AttentionItem(draft.public_id, sentence, href, "Show it", Role.SENDER))
    for asked in read_once(list_asked_resends, ctx):
        href = url_for("broadcasts.show_broadcast", broadcast_id=asked.public_id)
        to = add_amounts(people(asked.people), asked.figures)
        again = f"{asked.asked_by} has asked to send it again to {to}."
        sentence = f"“{name_row(asked)}” needs a second person.\n{again}"
        conditions.append(
            AttentionItem(f"again-{asked.public_id}", sentence, href, "Show it", Role.SENDER)
        )
    for row in read_once(list_stuck, ctx):
        href = url_for("broadcasts.show_broadcast", broadcast_id=row.public_id)
        sentence = f"“{name_row(row)}” {_say_stuck(row, ctx.now())}"
        conditions.append(AttentionItem(row.public_id, sentence, href, "Show it", Role.SENDER))
    return conditions


def _describe_check(ctx: Context, check: str, result: str) -> AttentionItem:
    """Return a check of /ready that fails: since when, what waits for it, and where to look."""
    health, sentence = read_page_health(ctx), _CONDITIONS[check, result]
    if check == "suppression_key":
        href = url_for("glossary.show_words", _anchor="suppression-key")
        return AttentionItem(check, sentence, href, "What to set", Role.VIEWER)
    stored = {"sending": health.stopped_since, "background": health.swept_at}
    # A fault that is seen now was not marked when the health was read.
    at = stored[check] if check in stored else health.faults_since.get(check, ctx.now())
    words = {"since": f" since {clock_time(at, ctx.now())}" if at else ""}
    if check == "consistency":
        broken, href = _find_broken(ctx, health.violations[0])
        words |= {"broken": broken, "violation": health.violations[0]}
        action = "Show it" if href else "What to do"
        href = href or url_for("glossary.show_words", _anchor="wrong-figures")
        return AttentionItem(check, sentence.format(**words), href, action, Role.VIEWER)
    words |= {"waiting": _say_waiting(*read_once(count_waiting, ctx))}
    if result == "restoring":
        looked_up, in_doubt = count_looked_up(ctx)
        batches = "1 batch" if in_doubt == 1 else f"{in_doubt:,} batches"
        went_out = f"went out: {looked_up:,} of {batches}"
        words |= {"asked": went_out if looked_up < in_doubt else "came in since"}
    href = url_for("broadcasts.list_all", status="sending")
    return AttentionItem(check, sentence.format(**words), href, "See what waits", Role.VIEWER)


def _say_waiting(number: int, has_more: bool) -> str:
    """Return how many texts wait.

    >>> _say_waiting(0, False), _say_waiting(1, False), _say_waiting(8722, True)
    ('Texts wait', '1 text waits', 'More than 8,722 texts wait')
    """
    if not number:
        return "Texts wait"
    if has_more:
        return f"More than {texts(number)} wait"
    return f"{texts(number)} {'waits' if number == 1 else 'wait'}"


def _find_broken(ctx: Context, violation: str) -> tuple[str, str]:
    """Return the name and the address of the broadcast that a violation is of, if it is known."""
    subject, _, rest = violation.partition(" ")
    public_id = rest.partition(":")[0]
    try:
        with ctx.db.read() as tx:
            row = find_broadcast(tx, ctx, public_id if subject == "broadcast" else "")
    except NotFound:
        return "a broadcast", ""
    return f"“{name_row(row)}”", url_for("broadcasts.show_broadcast", broadcast_id=public_id)


def _say_stuck(row: Row[Any], now: datetime) -> str:
    """Return why a broadcast waits for a person."""
    if row.status is BroadcastStatus.MISSED_START:
        return f"missed its start at {clock_time(row.send_at, now)}.\nStart it or stop it."
    if row.status is BroadcastStatus.HALTED:
        return "is halted: Sinch has a batch twice.\nLook at it, then resume it or stop it."
    return f"needs a second person again.\n{say_growth(row)}. Nothing is sent."


def _say_approval(draft: Row[Any], now: datetime) -> str:
    """Return what a draft waits for that needs the approval of a second person."""
    if draft.approved_by:
        return f"is not sent yet: {draft.approved_by} has approved it."
    number, figures = draft.approved_people, draft.approved_figures
    to = f" to send it to {add_amounts(people(number), figures)}" if number else ""
    starts_at = draft.body.get("send_at")
    before = f" before {clock_time(datetime.fromisoformat(starts_at), now)}" if starts_at else ""
    return f"needs a second person{before}.\n{draft.asked_by} has asked{to}."


def _describe_review(ctx: Context) -> AttentionItem | None:
    """Return how many people wrote a text that may mean STOP, and that is not judged yet."""
    texts_to_read = count_to_review(ctx.subscriber_context)
    if not texts_to_read:
        return None
    wrote = f"{people(texts_to_read)} wrote something that may mean “stop”."
    sentence = f"{wrote}\nNothing is sent to them until it is read."
    href = url_for("suppression_pages.list_to_review")
    return AttentionItem("review", sentence, href, f"Read the {texts_to_read:,}")


def _read_days(ctx: Context) -> list[dict[str, Any]]:
    """Return sent, delivered and opt-outs of each of the last days, the oldest first."""
    until = ctx.now().date()
    since = until - timedelta(days=_CHART_DAYS - 1)
    query = AnalyticsQuery(since=since, until=until, group_by=[Dimension.DAY], only={})
    by_day = {group[0]: figures for group, figures in read_analytics(ctx, query).groups}
    days = []
    for number in range(_CHART_DAYS):
        day = since + timedelta(days=number)
        figures = by_day.get(day, Figures())
        days.append(
            {
                "day": day,
                "sent": figures.statuses.total(),
                "delivered": figures.statuses[MessageStatus.DELIVERED],
                "opt_outs": figures.opted_out + (figures.inbounds or (0, 0))[1],
            }
        )
    return days
