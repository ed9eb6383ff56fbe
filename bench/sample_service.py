"""A sample database of a service in use: people, broadcasts in all states, texts, drafts, imports.

Bulk statements insert the rows that the service would leave; SQLite only.  All sizes and choices
follow from a seed.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from app.accounts.roles import Role
from app.accounts.users import accept_invitation, create_user
from app.config.keys import PEOPLE_CLIENT
from app.db.base import Metadata, table_of
from app.db.prepared import chunked, insert_rows
from app.ids import make_id, make_ids
from app.sms.caps.prices import replace_prices
from app.sms.content.templates import TemplateTexts, create_template
from app.sms.context import Context
from app.sms.drafts.approval import ask_approval
from app.sms.drafts.numbers import MAX_NUMBERS
from app.sms.drafts.people_file import read_people_file
from app.sms.drafts.store import save_draft
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.daily import DailyInbound
from app.sms.models.reports import Inbound
from app.sms.models.states import Attention, BatchState, BroadcastStatus, CancelRequestState
from app.subscribers.audiences.audience import Audience, plain_tag
from app.subscribers.audiences.conditions import Condition, Op
from app.subscribers.consent.ledger import HEAD_FACT, ConsentEntry, Head, make_links
from app.subscribers.imports.models import Import, ImportOptions, ImportRefusal, ImportStatus
from app.subscribers.models import (
    Cause,
    ConsentEvent,
    ConsentKind,
    Subscriber,
    SubscriberTag,
    Suppression,
    Tag,
)
from app.subscribers.suppressions.store import SuppressionRequest, suppress_many
from bench.sample_broadcast import Course, add_broadcast_to
from bench.sample_days import add_days

USER, PASSWORD = "bench", "correct horse battery"
TAG = "all"
# What each of the first drafts is to.
DRAFTS = ("all", "some", "pasted", "file")
# Nothing is lost by a crash but a sample.
_PRAGMAS = ("synchronous = off", "cache_size = -1000000")
_STEP = 20_000
_DAYS = 30
_TAGS = 200
_DRAFTS, _IMPORTS, _TEMPLATES, _USERS, _ANSWERS = 300, 300, 60, 20, 2_000
_REFUSED = 10_000
_TO_REVIEW = 30
# The texts both ways of the person who has most of them.
_OF_ONE = 400
_PREFIXES = ("46701", "46732", "4790", "4520", "4915112", "447700", "33612", "12015")
_FIRST_NAMES = (
    "Aino Aisha Amelia Anna Arvid Björn Callum Chloe Ebba Eero Elin Göran Grace Harry Helmi Håkon "
    "Ingrid Jonas Jürgen Kenji Käthe Lars Lena Linnéa Maja Mateo Nils Noah Olle Oskar Priya Saga "
    "Solveig Stina Timo Vera Väinö Zara Åsa Øyvind"
)
_LAST_NAMES = (
    "Alvarez Bakke Bennett Blom Brooks Cruz Ekdahl Groß Hallström Hansen Koskinen Lahti Lindqvist "
    "Lloyd Lunde Mäkinen Möller Norling Okafor Reed Salo Sandberg Schäfer Shah Sjögren Sørli Vogt "
    "Wikander Öberg"
)
_CITIES = ("Göteborg", "Malmö", "Stockholm", "Uppsala", "Oslo", "Helsinki", "Berlin", "Leeds")
_TEXTS = ("Thank you!", "Can I come on Sunday instead?", "Tack, vi ses", "Is it open?", "STOP")
_B, _S = BroadcastStatus, BatchState
# Each kind of broadcast of which there is one, and its size as a share of the largest.
_COURSES = {
    "cancelled": (Course(status=_B.CANCELLED, accepted=0.5, others=_S.CANCELLED), 1.0),
    "refused": (Course(status=_B.REFUSED, accepted=0, others=_S.REJECTED), 0.01),
    "expired": (Course(status=_B.EXPIRED, accepted=0, others=_S.EXPIRED), 0.1),
    "a decision waits": (
        Course(
            status=_B.COMPLETE_NEEDS_ATTENTION, accepted=0.98, others=_S.NEEDS_ATTENTION
        ),
        0.1,
    ),
    "missed its start": (Course(status=_B.MISSED_START, others=None), 0.1),
    "scheduled": (Course(status=_B.SCHEDULED, others=None), 1.0),
    "halted": (Course(status=_B.HALTED, accepted=0.3), 0.1),
    "paused": (Course(status=_B.PAUSED, accepted=0.3), 0.1),
    "sending": (Course(status=_B.SENDING, accepted=0.5), 1.0),
    "queued": (Course(status=_B.QUEUED, accepted=0), 0.1),
}  # fmt: skip
_TAG_ALL = text(
    "INSERT INTO subscriber_tags (tag_id, subscriber_id, confirmed) "
    "SELECT 1, id, 1 FROM subscribers"
)
_ATTEMPTS = text(
    "INSERT INTO attempts (batch_id, number, started_at, ended_at, outcome, http_status, "
    "payload_hash, worker, overridden) SELECT id, attempt, at, at, "
    "iif(accepted_at IS NULL, 'unknown', 'accepted'), iif(accepted_at IS NULL, NULL, 201), "
    "zeroblob(32), 'bench', 0 FROM (SELECT *, coalesce(accepted_at, unknown_at, datetime('now')) "
    "AS at FROM batches WHERE attempt > 0)"
)
_MARKETING_SENDS = text(
    "INSERT INTO marketing_sends (phone, batch_id, at) "
    "SELECT recipient, batch_id, :at FROM messages WHERE broadcast_id = :broadcast_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Number of rows of a sample service."""

    people: int = 1_000_000
    messages: int = 10_000_000
    broadcasts: int = 200
    inbounds: int = 100_000
    suppressions: int = 50_000


class SampleService:
    """Fills a new database, and finds in it what pages show, by the names of their arguments."""

    def __init__(self, ctx: Context, size: Size, seed: int) -> None:
        self._ctx, self._db, self._size = ctx, ctx.db, size
        self._random = random.Random(seed)
        self._now = ctx.now()
        self._phones = _make_phones(size.people)

    def fill(self) -> None:
        """Insert everything, and print how long each step took."""
        # Of the one connection that all steps use.
        driver: Any = self._db.engine.raw_connection()
        for pragma in _PRAGMAS:
            driver.execute(f"PRAGMA {pragma}")
        driver.close()
        for step in (
            self._add_users,
            self._add_people,
            self._add_tags,
            self._add_consents,
            self._add_suppressions,
            self._add_broadcasts,
            self._add_answers,
            self._add_inbounds,
            self._add_days,
            self._add_imports,
            self._add_templates,
            self._add_drafts,
        ):
            started = time.perf_counter()
            step()
            name = step.__name__.removeprefix("_add_")
            print(f"  {name:<16}{time.perf_counter() - started:6.1f} s", flush=True)
        self._db.close()

    def _add_users(self) -> None:
        for number in range(_USERS):
            name = f"{USER} {number}" if number else USER
            token = create_user(self._db, self._ctx.clock, name, Role.ADMIN, actor="bench")
            if not number:
                accept_invitation(self._db, self._ctx.clock, token, PASSWORD)

    def _add_people(self) -> None:
        choose, number = self._random.choice, 0
        first_names, last_names = _FIRST_NAMES.split(), _LAST_NAMES.split()
        for phones in chunked(self._shuffle(self._phones), _STEP):
            rows = []
            for public_id, phone in zip(make_ids(self._now, len(phones)), phones, strict=True):
                number += 1
                at = self._now - timedelta(minutes=self._random.randrange(1_000_000))
                rows.append(
                    {
                        "public_id": public_id,
                        "phone": phone,
                        "first_name": choose(first_names),
                        "last_name": choose(last_names),
                        "language": choose(("sv", "nb", "de", "en")),
                        "time_zone": choose((None, None, None, "Europe/Helsinki")),
                        "attributes": {"city": choose(_CITIES), "visits": number % 40},
                        "active": number % 50 != 0,
                        "consented_at": at if number % 5 else None,
                        "subscribed_at": at,
                        "updated_at": at,
                    }
                )
            with self._db.write() as tx:
                insert_rows(tx, table_of(Subscriber), rows)

    def _add_tags(self) -> None:
        """Give everybody one tag, and about one and a half others, of very different sizes."""
        names = [TAG, *(f"group {number}" for number in range(1, _TAGS))]
        with self._db.write() as tx:
            insert_rows(
                tx,
                table_of(Tag),
                [
                    {"id": number, "name": name, "double_opt_in": False, "created_at": self._now}
                    for number, name in enumerate(names, 1)
                ],
            )
            table = table_of(SubscriberTag)
            tx.execute(_TAG_ALL)
            for tag_id in range(2, _TAGS + 1):
                share = 1 / (tag_id * 3)
                people = range(self._random.randrange(1, 4), self._size.people, round(1 / share))
                rows = [
                    {"tag_id": tag_id, "subscriber_id": number, "confirmed": number % 20 != 0}
                    for number in people
                ]
                insert_rows(tx, table, rows)

    def _add_consents(self) -> None:
        """Write a link of the ledger for each person who has consented."""
        query = select(Subscriber.phone, Subscriber.consented_at)
        with self._db.write() as tx:
            people = tx.execute(query.where(Subscriber.consented_at.is_not(None))).all()
            head = Head()
            for part in chunked(people, _STEP):
                links = make_links(head, [_consent(row.phone, row.consented_at) for row in part])
                insert_rows(tx, table_of(ConsentEvent), links)
                head = Head(links[-1]["id"], links[-1]["hash"])
            tx.execute(insert(Metadata).values(name=HEAD_FACT, value=str(head)))

    def _add_suppressions(self) -> None:
        """Suppress numbers: a tenth was released since, and a few are to be reviewed."""
        ctx, table = self._ctx.subscriber_context, table_of(Suppression)
        chosen = self._shuffle(self._phones)[: self._size.suppressions]
        for part in chunked(chosen, _STEP):
            request = SuppressionRequest(cause=Cause.STOP, actor="phone", at=self._now)
            with self._db.write() as tx:
                suppress_many(tx, ctx, part, request)
        with self._db.write() as tx:
            tx.execute(update(table).where(table.c.id % 10 == 0).values(released_at=self._now))
            tx.execute(update(table).where(table.c.id % 7 == 0).values(scope="marketing"))
            review = select(table.c.id).where(table.c.id % 10 != 0)
            newest = review.order_by(table.c.id.desc()).limit(_TO_REVIEW)
            tx.execute(update(table).where(table.c.id.in_(newest)).values(needs_review=True))

    def _add_broadcasts(self) -> None:
        """Insert one broadcast of each course; the others were sent, and have any size."""
        largest = self._size.people
        special = [(course, math.ceil(share * largest)) for course, share in _COURSES.values()]
        left = self._size.messages - sum(size for course, size in special if course.others)
        sent = list(self._draw_sizes(left, self._size.broadcasts - len(special)))
        plans = [(Course(), size) for size in sent] + special
        for number, (course, size) in enumerate(plans):
            at = self._now - timedelta(days=_DAYS) * (len(plans) - number) / len(plans)
            with self._db.write() as tx:
                broadcast_id, _ = self._add_broadcast(tx, course, size, at)
                if number == len(sent) - 1:
                    values = {"broadcast_id": broadcast_id, "at": _write_time(self._now)}
                    tx.execute(_MARKETING_SENDS, values)
        with self._db.write() as tx:
            tx.execute(_ATTEMPTS)

    def _add_broadcast(
        self, tx: Connection, course: Course, size: int, at: datetime
    ) -> tuple[int, str]:
        step = max(1, self._size.people // size)
        first = self._random.randrange(step)
        columns: dict[str, Any] = {
            "created_at": at,
            "text": f"Pickup moved to {at:%H:%M}, see you on {at:%A}",
            "client": self._random.choice(("shop", "crm", PEOPLE_CLIENT)),
        }
        if size == self._size.people:
            columns |= {"audience": {"select": plain_tag(TAG).to_json(), "fields": {}}, "tag": TAG}
        if course.status in (_B.SCHEDULED, _B.MISSED_START):
            columns["send_at"] = at + timedelta(days=2 if course.status is _B.SCHEDULED else 0)
        made = add_broadcast_to(tx, self._phones[first::step][:size], course, **columns)
        self._mark_batches(tx, course, made[0])
        return made

    def _mark_batches(self, tx: Connection, course: Course, broadcast_id: int) -> None:
        table = table_of(Batch)
        ours = update(table).where(table.c.broadcast_id == broadcast_id)
        if course.others is _S.NEEDS_ATTENTION:
            waits = {"attention": Attention.ABSENT, "unknown_at": self._now, "not_found_count": 9}
            tx.execute(ours.where(table.c.state == _S.NEEDS_ATTENTION).values(waits))
        if course.status is _B.CANCELLED:
            called = ours.where(table.c.state == _S.ACCEPTED, table.c.id % 3 == 0)
            tx.execute(called.values(cancel_request=CancelRequestState.TOO_LATE))

    def _draw_sizes(self, messages: int, count: int) -> Iterator[int]:
        """Yield sizes from the largest to 10 that add up to these messages."""
        largest, left = self._size.people, messages
        yield from (size for size in (min(largest, left),) if size)
        left -= min(largest, left)
        for remaining in range(count - 1, 0, -1):
            size = round(math.exp(self._random.uniform(math.log(10), math.log(largest))))
            spare = left - 10 * (remaining - 1)
            # The last one takes what is left, as far as it may.
            yield (chosen := max(10, min(size, spare) if remaining > 1 else min(spare, largest)))
            left -= chosen

    def _add_answers(self) -> None:
        """Insert broadcasts to one number: answers, and the many texts of one person."""
        with self._db.write() as tx:
            for number in range(_ANSWERS):
                phone = self._busy_phone if number < _OF_ONE else self._random.choice(self._phones)
                at = self._now - timedelta(minutes=_ANSWERS - number)
                columns = {"client": PEOPLE_CLIENT, "created_by": USER, "created_at": at}
                add_broadcast_to(tx, [phone], Course(), text=f"We open at {at:%H:%M}", **columns)

    def _add_inbounds(self) -> None:
        count = self._size.inbounds
        with self._db.read() as tx:
            broadcast_id = tx.execute(select(func.max(Broadcast.id))).scalar_one()
        rows = []
        for number in range(count):
            is_busy = number % max(1, count // _OF_ONE) == 0
            at = self._now - timedelta(days=_DAYS) * (count - number) / count
            rows.append(
                {
                    "sinch_id": f"T{number}",
                    "kind": "mo_text",
                    "sender": self._busy_phone if is_busy else self._random.choice(self._phones),
                    "recipient": "12015550199",
                    "body": self._random.choice(_TEXTS),
                    "received_at": at,
                    "recorded_at": at,
                    "broadcast_id": self._random.randrange(1, broadcast_id),
                }
            )
        with self._db.write() as tx:
            insert_rows(tx, table_of(Inbound), rows)

    def _add_days(self) -> None:
        add_days(self._db, self._size.messages, until=self._now.date())
        rows = [
            {
                "day": self._now.date() - timedelta(days=n),
                "client": "",
                "inbounds": 9,
                "opt_outs": 3,
            }
            for n in range(_DAYS)
        ]
        with self._db.write() as tx:
            insert_rows(tx, table_of(DailyInbound), rows)

    def _add_imports(self) -> None:
        options = ImportOptions(columns={"phone": "Mobile"}).to_json()
        rows = [
            {
                "public_id": make_id(self._now),
                "client": PEOPLE_CLIENT,
                "created_by": USER,
                "file_name": f"people {number}.csv",
                "status": ImportStatus.COMPLETE if number > 1 else ImportStatus.WRITING,
                "options": options,
                "column_mapping": {"headers": ["Mobile"], "fields": ["phone"]},
                "bytes": 3_000_000,
                "lines": 100_000,
                "lines_done": 60_000 if number == 1 else 100_000,
                "rows": 60_000 if number == 1 else 100_000,
                "created": 50_000,
                "merged": 0 if number == 1 else 100_000 - 50_000 - _REFUSED,
                "refused": 10_000,
                "created_at": self._now,
                "phase_at": self._now - timedelta(seconds=30),
                "completed_at": self._now if number > 1 else None,
            }
            for number in range(_IMPORTS, 0, -1)
        ]
        with self._db.write() as tx:
            tx.execute(insert(table_of(Import)), rows)
            refusals = [
                {
                    "import_id": _IMPORTS - 1,
                    "line": line,
                    "position": 0,
                    "header": "Mobile",
                    "cell": "070",
                    "reason": "Too short for a number.",
                    "is_warning": False,
                }
                for line in range(2, _REFUSED + 2)
            ]
            insert_rows(tx, table_of(ImportRefusal), refusals)

    def _add_templates(self) -> None:
        replace_prices(self._ctx, "EUR", {"*": 60_000, "SE": 41_000}, actor="bench")
        for number in range(_TEMPLATES):
            texts = TemplateTexts(texts={"en": "Hello ${first_name}"}, default_language="en")
            create_template(self._ctx, f"template-{number}", texts, client="shop")

    def _add_drafts(self) -> None:
        narrow = Audience(
            any=("group 1", "group 2"),
            none=("group 9",),
            where=(
                Condition("attributes.city", Op.EQ, "Malmö"),
                Condition("attributes.visits", Op.GTE, 3),
            ),
        )
        personal = {"message": "Hello ${first_name}, come by at noon", "category": "marketing"}
        notice = {"message": "Come by at noon", "category": "transactional"}
        named = {"message": "Hello ${name}, come by at noon", "category": "transactional"}
        phones = self._phones[:MAX_NUMBERS]
        csv = "Mobile,name\n" + "".join(f"{phone},Anna\n" for phone in phones)
        file = read_people_file([csv.encode()], "people.csv", encoding="utf-8", country=None)
        kinds: Sequence[tuple[dict[str, Any], dict[str, Any]]] = (
            ({**personal, "audience": plain_tag(TAG).to_json()}, {}),
            ({**personal, "audience": narrow.to_json()}, {}),
            (notice, {"numbers": "\n".join(phones)}),
            (named, {"file": replace(file, is_chosen=True).to_json()}),
        )
        for number in range(_DRAFTS):
            draft_id, (body, columns) = make_id(self._now), kinds[number % len(kinds)]
            version = save_draft(self._ctx, draft_id, body, user=USER, columns=columns)
            if number == 0:
                ask_approval(self._ctx, draft_id, version, "", user=USER)

    @property
    def _busy_phone(self) -> str:
        return self._phones[len(self._phones) // 2]

    def _shuffle(self, values: Sequence[str]) -> list[str]:
        return self._random.sample(values, len(values))


def _make_phones(count: int) -> list[str]:
    """Return distinct numbers of several countries, sorted as an audience is."""
    kinds = len(_PREFIXES)
    return sorted(f"+{_PREFIXES[number % kinds]}{number // kinds:06d}" for number in range(count))


def _consent(phone: str, at: datetime) -> ConsentEntry:
    return ConsentEntry(
        ConsentKind.OPT_IN, phone, at, "import", "bench", "a form", "Write to me about offers."
    )


def _write_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")
