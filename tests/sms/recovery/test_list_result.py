"""What a list proves, when to ask again, and when enough was asked.  Pure."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from app.config import SendingRules
from app.sinch.schemas import SinchBatch
from app.sms.recovery.list_result import (
    LOOKUP_PERIOD,
    ListFinding,
    ListResult,
    choose_next_lookup,
    classify_list,
    is_proven_absent,
)

ANN, BOB = "+46701234567", "+46707654321"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = SendingRules()


def _listed(batch_id="A", *, to=(ANN, BOB), canceled=False, after_s=0.0):
    created_at = None if after_s is None else NOON + timedelta(seconds=after_s)
    return SinchBatch(batch_id, "cl-1", tuple(to), canceled, created_at)


def test_a_list_may_spell_the_recipients_in_another_way():
    listed = _listed(to=("+460701234567", "+5215512345678"))

    found = classify_list([listed], ["+46701234567", "+525512345678"])

    assert found == ListResult(ListFinding.FOUND, "A")


def _age(seconds):
    return NOON + timedelta(seconds=seconds)


def _asked_at(rules=RULES, *, sweep_s=0.0):
    """Seconds after the outcome became unknown at which a question is asked, to the end."""
    now, lookups = NOON, []
    while (at := choose_next_lookup(rules, unknown_at=NOON, now=now)) is not None:
        now = at + timedelta(seconds=sweep_s)
        lookups.append((at - NOON).total_seconds())
    return lookups


def test_nothing_listed_is_absent():
    assert classify_list([], [ANN]) == ListResult(ListFinding.ABSENT)


def test_one_batch_with_our_recipients_in_any_order_is_taken():
    assert classify_list([_listed(to=(BOB, ANN))], [ANN, BOB]) == ListResult(ListFinding.FOUND, "A")


def test_of_several_the_oldest_counts_and_the_others_are_surplus():
    listed = [_listed("C", after_s=2), _listed("A", after_s=0), _listed("B", after_s=1)]

    result = classify_list(listed, [ANN, BOB])

    assert result == ListResult(ListFinding.MULTIPLE, "A", ("C", "B"))


def test_without_times_the_last_listed_is_the_oldest():
    listed = [_listed("B", after_s=None), _listed("A", after_s=None)]

    assert classify_list(listed, [ANN, BOB]).sinch_id == "A"


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param({"to": (ANN,)}, id="fewer"),
        pytest.param({"to": (ANN, BOB, "+46700000000")}, id="more"),
        pytest.param({"to": (ANN, "+46700000000")}, id="others"),
        pytest.param({"to": ()}, id="none"),
        pytest.param({"canceled": True}, id="cancelled"),
    ],
)
@pytest.mark.parametrize("beside_a_right_one", [False, True])
def test_anything_else_than_was_sent_is_a_mismatch(strange, beside_a_right_one):
    listed = [_listed("B", **strange)] + ([_listed("A")] if beside_a_right_one else [])

    assert classify_list(listed, [ANN, BOB]).finding is ListFinding.MISMATCH


@pytest.mark.parametrize("to", [(ANN,), (ANN, "+46700000000"), (ANN, BOB, "+46700000000")])
def test_a_restored_batch_was_sent_to_whom_the_list_shows_if_one_of_them_is_ours(to):
    found = classify_list([_listed(to=to)], [ANN, BOB], may_differ=True)

    assert found == ListResult(ListFinding.FOUND, "A", listed=frozenset(to))


def test_a_restored_batch_of_which_the_list_shows_none_is_a_mismatch_but_the_others_were_sent_to():
    found = classify_list([_listed(to=(BOB,))], [ANN], may_differ=True)

    assert found == ListResult(ListFinding.MISMATCH, "A", listed=frozenset([BOB]))


def test_questions_come_at_the_models_times_then_hourly_to_day_13():
    lookups = _asked_at()

    assert lookups[:8] == [5, 15, 30, 60, 120, 300, 600, 900]
    until_called = [at for at in lookups if 900 < at <= 1800]
    assert until_called == [1050, 1200, 1350, 1500, 1650, 1800]
    hourly = [at for at in lookups if at > 1800]
    assert {b - a for a, b in pairwise(hourly)} == {3600}
    last = timedelta(seconds=hourly[-1])
    assert LOOKUP_PERIOD <= last < LOOKUP_PERIOD + timedelta(hours=1)


def test_late_sweeps_skip_no_question_for_long():
    lookups = _asked_at(sweep_s=15)

    assert [at for at in lookups if at <= 900] == [5, 30, 60, 120, 300, 600, 900]


def test_nothing_is_asked_beyond_what_the_list_reaches():
    assert choose_next_lookup(RULES, unknown_at=NOON, now=NOON + LOOKUP_PERIOD) is None


def _proven(*, lists=5, age_s=900, before_s=300):
    return is_proven_absent(
        RULES,
        lists=lists,
        unknown_at=NOON,
        absent_before_at=None if before_s is None else _age(age_s - before_s),
        now=_age(age_s),
    )


def test_five_lists_over_15_minutes_two_of_them_in_the_last_5_prove_absence():
    assert _proven()


@pytest.mark.parametrize(
    "less",
    [
        pytest.param({"lists": 4}, id="four lists"),
        pytest.param({"age_s": 899}, id="not yet 15 minutes"),
        pytest.param({"before_s": 301}, id="one in the last 5 minutes"),
        pytest.param({"before_s": None}, id="no list before"),
    ],
)
def test_less_proves_nothing(less):
    assert not _proven(**less)
