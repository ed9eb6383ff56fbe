"""What a file says of consents, and what it cannot undo: objections, suppressions, erasures."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from app.db.base import table_of
from app.errors import BadInput
from app.subscribers.consent.ledger import ConsentEntry, append_consent_entries, read_events
from app.subscribers.imports.models import Purpose
from app.subscribers.imports.rows import NO_CONSENT
from app.subscribers.models import Cause, ConsentKind, Suppression
from app.subscribers.profiles.entry import GivenConsent
from app.subscribers.profiles.upsert import OBJECTED
from app.subscribers.suppressions.store import find_suppressed
from tests.people import suppress
from tests.subscribers.imports.imports import (
    CONSENT,
    begin,
    counts,
    everybody,
    import_file,
    refusals,
    write_csv,
    written,
)

ANN, BOB, CID = "+46701234567", "+46701234568", "+46701234569"


def test_marketing_needs_a_consent_of_every_row(people):
    file = write_csv(
        ["phone", "consent wording", "consent source", "consent at"],
        [ANN, "Yes", "web", "2025-03-01"],
        [BOB, "Yes", "", "2025-03-01"],
        [CID, "", "", ""],
    )

    row = import_file(people, file, purpose=Purpose.MARKETING)

    assert counts(row) == {"rows": 3, "created": 1, "refused": 2}
    assert {(line, reason) for line, _, _, reason in refusals(people, row)} == {
        (3, NO_CONSENT), (4, NO_CONSENT),
    }  # fmt: skip
    ann = everybody(people)[ANN]
    assert (ann["consented_at"], ann["links"]) == (datetime(2025, 3, 1, tzinfo=UTC), 1)


def test_a_consent_may_be_given_for_all_and_what_a_row_says_goes_before_it(people):
    file = write_csv(["phone", "consent at"], [ANN, "2025-03-01"], [BOB, ""])

    row = import_file(people, file, purpose=Purpose.MARKETING, consent=CONSENT)

    assert counts(row) == {"rows": 2, "created": 2}
    found = everybody(people)
    assert found[ANN]["consented_at"] == datetime(2025, 3, 1, tzinfo=UTC)
    assert found[BOB]["consented_at"] == CONSENT.at
    with people.db.read() as tx:
        assert [link["wording"] for link in read_events(tx, ANN)] == [CONSENT.wording]


def test_without_consents_for_marketing_a_file_is_not_taken(people):
    with pytest.raises(BadInput, match="and no column is consent_source"):
        begin(people, write_csv(["phone", "consent at", "opt in text"]), purpose=Purpose.MARKETING)


def test_for_other_purposes_a_consent_is_kept_where_it_is_given_whole(people):
    file = write_csv(
        ["phone", "consent wording", "consent source", "consent at"],
        [ANN, "Yes", "web", "2025-03-01"], [BOB, "", "", ""], [CID, "Yes", "", ""],
    )  # fmt: skip

    row = import_file(people, file)

    assert counts(row) == {"rows": 3, "created": 2, "refused": 1}
    assert {phone: each["links"] for phone, each in everybody(people).items()} == {ANN: 1, BOB: 0}
    alone = write_csv(["phone", "consent at"], [CID, "2025-03-01"])
    assert counts(import_file(people, alone)) == {"rows": 1, "created": 1}
    assert everybody(people)[CID]["links"] == 0


def test_a_consent_is_recorded_once_and_a_newer_one_again(people):
    def agree(at):
        consent = GivenConsent(at=datetime(2025, 1, at, tzinfo=UTC), source="web", wording="Yes")
        return counts(import_file(people, write_csv(["phone"], [ANN]), consent=consent))

    assert agree(5) == {"rows": 1, "created": 1}
    assert agree(5) == {"rows": 1, "unchanged": 1}
    assert agree(4) == {"rows": 1, "unchanged": 1}
    assert agree(6) == {"rows": 1, "updated": 1}
    ann = everybody(people)[ANN]
    assert (ann["links"], ann["consented_at"]) == (2, datetime(2025, 1, 6, tzinfo=UTC))


@pytest.mark.parametrize("subscribed", [True, False])
def test_a_consent_from_before_an_objection_is_none(people, subscribed):
    if subscribed:
        import_file(people, write_csv(["phone"], [ANN]), consent=CONSENT)
    with people.db.write() as tx:
        at = CONSENT.at + timedelta(days=1)
        stop = ConsentEntry(ConsentKind.OPT_OUT, ANN, at, "sms", "phone", "x", "STOP")
        append_consent_entries(tx, [stop])
    before = written(people)

    row = import_file(people, write_csv(["phone"], [ANN], [BOB]), consent=CONSENT)

    assert counts(row) == {"rows": 2, "created": 1, "refused": 1}
    assert refusals(people, row) == [(2, "", "", OBJECTED)]
    assert before[0] == [each for each in written(people)[0] if BOB not in each]
    seconds_from_now = replace(CONSENT, at=CONSENT.at + timedelta(days=2))
    import_file(people, write_csv(["phone"], [ANN]), consent=seconds_from_now)
    assert everybody(people)[ANN]["consented_at"] == seconds_from_now.at


def test_a_suppressed_number_stays_suppressed(people):
    with people.db.write() as tx:
        suppress(tx, people, ANN, cause=Cause.STOP, actor="phone", at=people.now())

    import_file(people, write_csv(["phone"], [ANN], [BOB]), consent=CONSENT)

    with people.db.read() as tx:
        assert find_suppressed(tx, people, [ANN, BOB], marketing=False) == {ANN}


def test_an_erased_number_that_comes_again_is_suppressed_by_its_number(people):
    with people.db.write() as tx:
        suppress(tx, people, ANN, cause=Cause.ERASED, actor="tests", at=people.now())
        tx.execute(update(table_of(Suppression)).values(phone=None))

    import_file(people, write_csv(["phone"], [BOB], [ANN]))

    with people.db.read() as tx:
        assert tx.execute(select(Suppression.phone)).scalars().all() == [ANN]
        assert find_suppressed(tx, people, [ANN, BOB], marketing=False) == {ANN}
