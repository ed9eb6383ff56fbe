"""The time of each page and polled region of a service with a million subscribers, on SQLite.

    python -m bench.bench_pages                         1,000,000 people, 10,000,000 messages
    python -m bench.bench_pages --people 10000 --messages 100000
    python -m bench.bench_pages --database pages.db     keeps the database, and uses it again

Of each page the median and the 95th percentile of its requests are printed, in time and in time of
the processor, which counts on a machine that does other work.  Goal: at most 150 ms.  Counts over a
large audience take longer: a region behind the page asks for them, and they have no goal.
"""

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from http import HTTPStatus
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask.testing import FlaskClient
from sqlalchemy import Select, func, select

from app.sms.context import Context
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.draft import StoredDraft
from app.sms.models.reports import Inbound
from app.sms.models.states import BatchState, BroadcastStatus
from app.subscribers.imports.models import Import, ImportStatus
from app.subscribers.models import Subscriber, Suppression
from bench.clarion import KEY, open_service, opened
from bench.sample_service import DRAFTS, PASSWORD, TAG, USER, SampleService, Size
from tests.web.addresses import PageRoute, list_pages

LOOKS = 30
GOAL_MS = 150
SEED = 1
# What pages show beside what they show at first.
_QUERIES: Mapping[str, Sequence[Mapping[str, str]]] = {
    "/broadcasts": [{"status": status.value} for status in BroadcastStatus] + [{"cursor": "100"}],
    "/broadcasts/<broadcast_id>/people": [
        {"status": status}
        for status in ("delivered", "failed", "rejected", "submitted", "pending", "suppressed")
    ]
    + [{"cursor": "500-10"}, {"status": "failed", "code": "151"}],
    "/people": [{"cursor": "500000"}],
    "/people/suppressions": [{"active": "false"}, {"active": "true", "scope": "marketing"}],
    "/inbox": [{"show": "to_answer"}, {"show": "opted_out"}, {"cursor": "50000"}],
    "/inbox/list": [{"show": "to_answer"}, {"show": "opted_out"}],
    "/tags": [{"counted": "1"}],
    "/tags/<tag>": [{"counted": "1"}],
    "/new/<draft_id>/left-out/<reason>": [{"counted": "1"}],
    "/new/<draft_id>/text": [{"person": "0"}, {"person": "5000"}],
    "/api/analytics": [{"group_by": "country,status"}],
    "/api/broadcasts": [{"status": "complete"}],
    "/api/broadcasts/<broadcast_id>/messages": [{"status": "failed"}],
    "/api/suppressions": [{"active": "true"}],
}
# Regions behind a page that count, and how often they are asked for.
_COUNTS = re.compile(r"counted=1|/count$")
_COUNTED = 5
# Their time is that of their length.
_FILES = (".csv", "/export")

# The values of an argument of addresses, by what they show.
Values = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Look:
    """A request: the page by its rule and what it shows, and the fields of its form, if any."""

    name: str
    address: str
    form: Mapping[str, str] | None = None

    @property
    def is_count(self) -> bool:
        """True for a region that has no goal."""
        return bool(_COUNTS.search(self.address))


def main() -> None:
    """Fill a database or open the one that is there, look at each page, and print the times."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for each in fields(Size):
        arguments.add_argument(f"--{each.name}", type=int, default=each.default)
    arguments.add_argument("--seed", type=int, default=SEED)
    arguments.add_argument("--looks", type=int, default=LOOKS, help="requests of each page")
    arguments.add_argument("--only", default="", help="pages with this in their name")
    arguments.add_argument("--database", type=Path, help="a file that is kept, and used again")
    chosen = arguments.parse_args()
    size = Size(**{each.name: getattr(chosen, each.name) for each in fields(Size)})
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = chosen.database or Path(folder) / "clarion.db"
        client = prepare(path.resolve(), size, chosen.seed)
        looks = list_looks(client, find_values(client))
        measure(client, [look for look in looks if chosen.only in look.name], chosen.looks)


def prepare(path: Path, size: Size, seed: int) -> FlaskClient:
    """Fill a database unless the file exists.  Returns a client that has signed in over it."""
    is_new, url = not path.exists(), f"sqlite:///{path}"
    with opened(url):
        pass
    client = open_service(url, API_KEYS=f"bench[* clients:all]:{KEY}")
    print(f"{size}, seed {seed}" if is_new else f"{path.name} as it is")
    if is_new:
        SampleService(get_context(client), size, seed).fill()
    form = {"name": USER, "password": PASSWORD, "csrf_token": find_csrf(client, "/login")}
    if client.post("/login", data=form).status_code != HTTPStatus.SEE_OTHER:
        raise RuntimeError("the sign-in was refused")
    return client


def get_context(client: FlaskClient) -> Context:
    """Return the Context of the client's service."""
    ctx: Context = client.application.extensions["clarion"]
    return ctx


def find_csrf(client: FlaskClient, address: str) -> str:
    """Return the token in the forms of a page."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(address).text)
    if found is None:
        raise RuntimeError(f"{address} has no form")
    return found[1]


def find_values(client: FlaskClient) -> Values:
    """Return values of the arguments of addresses: those with most behind them."""
    busiest = select(Inbound.sender).group_by(Inbound.sender).order_by(func.count().desc())
    phone = busiest.limit(1).scalar_subquery()
    attention = select(Batch.client_reference).where(Batch.state == BatchState.NEEDS_ATTENTION)
    with get_context(client).db.read() as tx:

        def read(query: Select[Any]) -> str:
            return str(tx.execute(query.limit(1)).scalar_one())

        drafts = select(StoredDraft.public_id).order_by(StoredDraft.id).limit(len(DRAFTS))
        return {
            "broadcast_id": {
                status.value: read(_select_largest(status)) for status in BroadcastStatus
            },
            "subscriber_id": {
                "busy": read(select(Subscriber.public_id).where(Subscriber.phone == phone)),
                "newest": read(select(Subscriber.public_id).order_by(Subscriber.id.desc())),
            },
            "text_id": {
                "busy": read(select(func.max(Inbound.id)).where(Inbound.sender == phone)),
                "newest": read(select(func.max(Inbound.id))),
            },
            "import_id": {
                status.value: read(_select_import(status))
                for status in (ImportStatus.COMPLETE, ImportStatus.WRITING)
            },
            "draft_id": dict(zip(DRAFTS, tx.execute(drafts).scalars(), strict=True)),
            "reference": {"": read(attention)},
            "suppression_id": {
                "": read(select(Suppression.public_id).order_by(Suppression.id.desc()))
            },
            "tag": {"": TAG},
            "reason": {reason: reason for reason in ("opted_out", "no_window")},
            "user_id": {"": "2"},
            "client": {"": "shop"},
            "name": {"": "template-0"},
            "template": {"": "template-0"},
            "version": {"": "1"},
        }


def _select_largest(status: BroadcastStatus) -> Select[Any]:
    query = select(Broadcast.public_id).where(Broadcast.status == status)
    return query.order_by(Broadcast.recipients.desc())


def _select_import(status: ImportStatus) -> Select[Any]:
    query = select(Import.public_id).where(Import.status == status)
    return query.order_by(Import.id.desc())


def list_looks(client: FlaskClient, values: Values) -> list[Look]:
    """Return looks at each page and each list of the API, with what they filter, and at forms."""
    lists = [
        PageRoute(rule, "GET", None)
        for rule in client.application.url_map.iter_rules()
        if rule.rule.startswith("/api/") and "GET" in (rule.methods or ())
    ]
    pages = [route for route in list_pages(client.application) if route.role is not None]
    looks = [
        look
        for route in [*pages, *lists]
        if route.rule.arguments <= values.keys() and not route.rule.rule.endswith(_FILES)
        for look in _look_at(route, values)
    ]
    return [*looks, *_list_forms(client, values)]


def _look_at(route: PageRoute, values: Values) -> Iterator[Look]:
    name, names = route.rule.rule, sorted(route.rule.arguments)
    for choice in product(*(values[argument].items() for argument in names)):
        given = {argument: value for argument, (_, value) in zip(names, choice, strict=True)}
        shown = " ".join([name, *(kind for kind, _ in choice if kind)])
        yield Look(shown, route.address(given))
        if choice and choice[0][0] not in ("complete", "sending", "busy", *DRAFTS, ""):
            continue
        for query in _QUERIES.get(name, ()):
            asked = urlencode(query)
            yield Look(f"{shown}?{asked}", f"{route.address(given)}?{asked}")


def _list_forms(client: FlaskClient, values: Values) -> Iterator[Look]:
    with get_context(client).db.read() as tx:
        busy = Subscriber.public_id == values["subscriber_id"]["busy"]
        phone = tx.execute(select(Subscriber.phone).where(busy)).scalar_one()
    for text in ("a", "Anna", "lindq", phone, "+46709999999"):
        yield Look(f"/people finds {text}", "/people", {"text": text})
    for number in (phone, "+46709999999"):
        yield Look(f"/why {number}", "/why", {"number": number})
        yield Look(f"/api/messages/search {number}", "/api/messages/search", {"recipient": number})
    for kind, draft_id in values["draft_id"].items():
        count = f"/new/{draft_id}/text/count"
        yield Look(f"/new/<draft_id>/text/count {kind}", count, {"message": "Hej ${first_name}"})
    audience = {"kind": "people", "any": TAG}
    yield Look("/new/<draft_id>/audience/count", f"/new/{draft_id}/audience/count", audience)


def measure(client: FlaskClient, looks: Sequence[Look], count: int) -> None:
    """Print the times of each look, and of how many the goal is missed."""
    csrf, missed = find_csrf(client, "/people"), 0
    print(f"milliseconds of {count} requests{'time':>67}{'processor':>18}")
    print(f"{'median':>84}{'95 %':>9}{'median':>9}{'95 %':>9}")
    for look in looks:
        time_look(client, look, csrf)
        often = min(count, _COUNTED) if look.is_count else count
        taken = [time_look(client, look, csrf) for _ in range(often)]
        figures = [figure for times in zip(*taken, strict=True) for figure in summarize(times)]
        is_slow = not look.is_count and min(figures[1], figures[3]) > GOAL_MS
        missed += is_slow
        mark = " slow" if is_slow else " behind its page" if look.is_count else ""
        shown = "".join(f"{figure:9.1f}" for figure in figures)
        print(f"  {look.name:<73}{shown}{mark}", flush=True)
    print(f"{missed} of {len(looks)} take more than {GOAL_MS} ms of the processor")


def time_look(client: FlaskClient, look: Look, csrf: str) -> tuple[float, float]:
    """Return the milliseconds until an answer is there, and those of the processor."""
    headers = {"X-API-Key": KEY} if look.address.startswith("/api/") else {}
    started, worked = time.perf_counter(), time.process_time()
    if look.form is None:
        answer = client.get(look.address, headers=headers)
    elif headers:
        answer = client.post(look.address, headers=headers, json=look.form)
    else:
        # A search leads to the page with what it found.
        form = {**look.form, "csrf_token": csrf}
        answer = client.post(look.address, data=form, follow_redirects=True)
    taken = time.perf_counter() - started, time.process_time() - worked
    # A count that takes too long is refused; so it is the slowest.
    if answer.status_code >= HTTPStatus.BAD_REQUEST and not look.is_count:
        raise RuntimeError(f"{look.address}: {answer.status_code}")
    return taken[0] * 1e3, taken[1] * 1e3


def summarize(times: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile."""
    return statistics.median(times), sorted(times)[-1 - len(times) // 20]


if __name__ == "__main__":
    main()
