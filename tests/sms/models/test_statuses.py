"""The words for what became of a message: each has its sentence, its place and its line in docs."""

import re
from pathlib import Path

import pytest

from app.sms.lifecycle.latency import latency_bucket, percentile, seconds_of
from app.sms.models.statuses import (
    ENDED,
    NOT_REACHED,
    REPORTED,
    MessageStatus,
    explain,
    rank_status,
    translate_status,
)

_M = MessageStatus
_DOCUMENT = Path(__file__).parents[3] / "docs" / "reports.md"


def test_the_document_names_every_status_and_no_other():
    named = re.findall(r"^\| (\w+) \|", _DOCUMENT.read_text(), re.MULTILINE)
    assert named[1:] == [status.value for status in MessageStatus]


def test_the_document_names_the_order_of_reports():
    [line] = re.findall(r"^(submitted < .*)$", _DOCUMENT.read_text(), re.MULTILINE)
    assert line.split(" < ") == sorted(REPORTED, key=rank_status)


@pytest.mark.parametrize("status", MessageStatus)
@pytest.mark.parametrize("code", [None, 0, -1, 7, 15, 257, 401, 999, 10**9])
def test_every_status_has_a_sentence_whatever_the_code(status, code):
    reason = explain(status, code)
    assert reason.sentence.endswith(".")
    assert not (reason.retry and status in (_M.DELIVERED, _M.SUBMITTED, _M.UNKNOWN, _M.ABANDONED))


@pytest.mark.parametrize(
    ("code", "retry"), [(404, True), (402, False), (257, False), (153, True), (4, True), (5, False)]
)
def test_a_code_says_whether_sending_again_makes_sense(code, retry):
    assert explain(_M.FAILED, code).retry is retry


def test_delivered_says_so_whatever_the_code():
    assert explain(_M.DELIVERED, 150) == explain(_M.DELIVERED, 0)


def test_no_end_is_a_way_back_to_submitted():
    assert {*ENDED, _M.SUBMITTED} == REPORTED
    assert NOT_REACHED < ENDED
    assert all(rank_status(status) > rank_status(_M.SUBMITTED) for status in ENDED)
    assert all(rank_status(status) < rank_status(_M.DELIVERED) for status in ENDED - {_M.DELIVERED})


@pytest.mark.parametrize(
    ("told", "status"),
    [("DELIVERED", _M.DELIVERED), ("canceled", _M.CANCELLED), ("", _M.SUBMITTED)],
)
def test_sinch_s_words_are_taken_in_any_case(told, status):
    assert translate_status(told) is status


@pytest.mark.parametrize("seconds", [0.2, 1, 9.9, 60, 3_600, 86_400])
def test_a_class_of_waiting_times_is_right_to_a_twentieth(seconds):
    assert seconds_of(latency_bucket(seconds)) == pytest.approx(seconds, rel=0.06)


def test_percentiles_come_from_the_classes():
    counts = {latency_bucket(1): 50, latency_bucket(10): 40, latency_bucket(100): 10}
    found = [percentile(counts, share) for share in (0.5, 0.9, 0.99)]
    assert found == [pytest.approx(s, rel=0.06) for s in (1, 10, 100)]
    assert percentile({}, 0.5) is None
