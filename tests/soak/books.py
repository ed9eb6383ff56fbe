"""The counts of a service against what Sinch has accepted, once nothing is under way."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import select

from app.config.keys import OWN_CLIENT
from app.db.engine import Database
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from tests.callers import count_taken
from tests.kills.ledger import LedgeredSandbox
from tests.soak.traffic import OptedOut

Accepted = Mapping[str, Sequence[Mapping[str, Any]]]


def accepted_by_broadcast(sinch: LedgeredSandbox, db: Database) -> Accepted:
    """Return the batches that Sinch has accepted, by the id of their broadcast."""
    query = select(Batch.client_reference, Broadcast.public_id).join(
        Broadcast, Broadcast.id == Batch.broadcast_id
    )
    with db.read() as tx:
        homes = {row.client_reference: row.public_id for row in tx.execute(query)}
    found = defaultdict(list)
    for batch in sinch.accepted():
        found[homes[batch["client_reference"]]].append(batch)
    return found


def find_twice(accepted: Accepted) -> list[tuple[str, str]]:
    """Return each broadcast with a number that has more than one copy of it."""
    return [
        (broadcast_id, number)
        for broadcast_id, batches in accepted.items()
        for number, copies in Counter(number for each in batches for number in each["to"]).items()
        if copies > 1
    ]


def find_wrong_counts(
    shown: Iterable[Mapping[str, Any]], accepted: Accepted, sinch: LedgeredSandbox
) -> list[tuple[Any, ...]]:
    """Return each broadcast whose counts are not those of Sinch, with both."""
    with ThreadPoolExecutor(4) as pool:
        reports = {
            broadcast_id: pool.map(sinch.control.report, [each["id"] for each in batches])
            for broadcast_id, batches in accepted.items()
        }
        ends = {broadcast_id: _add_up(each) for broadcast_id, each in reports.items()}
    wrong = []
    for broadcast in shown:
        counts, truth = broadcast["counts"], ends.pop(broadcast["broadcast_id"], Counter())
        fits = counts["delivered"] == truth["delivered"] and counts["failed"] == truth["failed"]
        fits = fits and count_taken(counts) == truth.total()
        if not fits or sum(counts.values()) != broadcast["recipients"]:
            wrong.append((broadcast["broadcast_id"], counts, truth))
    return wrong + list(ends.items())


def _add_up(reports: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Count the messages of some batches by their last status."""
    ends = Counter[str]()
    for report in reports:
        for status in report["statuses"]:
            ends[status["status"].lower()] += status["count"]
    return ends


def find_sent_after_stop(
    accepted: Accepted, opted_out: Iterable[OptedOut], db: Database
) -> list[tuple[str, str]]:
    """Return each text that left for a number after its STOP; answers to the STOP do not count."""
    query = (
        select(Batch.client_reference, Attempt.started_at)
        .join(Attempt, Attempt.batch_id == Batch.id)
        .join(Broadcast, Broadcast.id == Batch.broadcast_id)
        .where(Broadcast.client != OWN_CLIENT)
        .order_by(Attempt.number)
    )
    with db.read() as tx:
        left_at = {row.client_reference: row.started_at for row in tx.execute(query)}
    stopped = {each.phone: each for each in opted_out}
    return [
        (broadcast_id, number)
        for broadcast_id, batches in accepted.items()
        for batch in batches
        if (at := left_at.get(batch["client_reference"]))
        for number in stopped.keys() & batch["to"]
        if stopped[number].since < at and (stopped[number].until or at) >= at
    ]
