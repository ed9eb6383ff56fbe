"""Figures in words: what is a sample is called one."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from app.sms.caps.prices import Cost
from app.sms.drafts.count import DraftCount, ShorterText, TextCount
from app.sms.models.states import ExclusionReason
from app.sms.quotes.estimate import Estimate
from app.web.new.figures import (
    describe_count,
    describe_quote,
    describe_reach,
    describe_shorter,
)


def count(*, people, counted, **costs):
    histogram = {1: counted - 12, 2: 12}
    facts = {"encoding": "GSM-7", "parts": 2, "is_everybody": False}
    cost = {name: Cost(micros, "EUR") for name, micros in costs.items()}
    return TextCount(
        texts={None: "Hi"}, histogram=histogram, people=people, counted=counted, **facts, **cost
    )


def test_a_count_of_some_is_called_a_sample_and_has_no_cost():
    counted = count(people=12_431, counted=10_000, cost=612_000_000, least_cost=598_000_000)

    after = describe_count(counted)["after"]

    assert "A sample: the first 10,000 of 12,431 people." in after
    assert "€" not in after
    said = describe_shorter(counted, ShorterText(12, 1, None))
    assert said == "Long names or values push 12 people into a second part."


def test_a_count_of_all_says_what_it_costs_and_what_fewer_characters_would_save():
    counted = count(people=10_000, counted=10_000, cost=612_000_000, least_cost=598_000_000)

    assert "About €612." in describe_count(counted)["after"]
    assert describe_shorter(counted, ShorterText(12, 1, 4)).endswith(
        "into a second part. 4 characters less would save about €14."
    )


def test_an_audience_adds_up_to_those_who_fit_it():
    estimate = Estimate()
    estimate.recipients["SE"] = 9_000
    estimate.excluded[ExclusionReason.OPTED_OUT] = 700
    estimate.expired_before_window = 300

    reach = describe_reach(DraftCount(estimate, Cost(0, None), 1_000_000, 10_000))

    assert (reach["fit"], reach["get_it"], reach["people"]) == (10_000, 9_000, 1_000_000)
    assert sum(line["figure"] for line in reach["left_out"]) == 1_000


def test_many_times_at_which_people_wait_are_five_lines_that_add_up():
    now = datetime(2026, 12, 2, 7, tzinfo=UTC)
    times = [now + timedelta(hours=hours) for hours in range(1, 12)]
    quote = {
        "countries": {}, "zones": [], "excluded": {}, "expired_before_window": 0, "cost": None,
        "recipients": 11, "sending_s": None,
        "deferred": [{"at": at, "recipients": 1} for at in times],
    }  # fmt: skip

    start, *waits = describe_quote(quote, SimpleNamespace(body={}), now, UTC).times

    assert start == ("Starts", "As soon as it is confirmed")
    assert waits[:2] == [("1 waits for", "08:00"), ("1 waits for", "09:00")]
    assert len(waits) == 5
    assert waits[-1] == ("7 wait for", "up to 18:00")
