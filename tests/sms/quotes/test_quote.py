"""What a quote says is what is then sent, to the recipient and the part."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from app.config import SubscriberRules
from app.sandbox.engine.parts import count_parts
from tests.background import work_off
from tests.callers import Caller
from tests.conftest import draw_lots, examples
from tests.factories import many_numbers
from tests.keywords.ways_out import NO_WAYS_OUT, WAYS_OUT
from tests.people import add_people, stop
from tests.shifting import shift_clock

_PEOPLE = many_numbers(6)
_PRICES = {"currency": "EUR", "prices": {"SE": "0.05", "*": "0.1"}}


@pytest.fixture
def caller(either_service):
    return Caller(either_service)


@pytest.fixture
def ctx(either_service):
    return either_service.extensions["clarion"]


def _quote(caller, **body):
    answer = caller.post("/api/broadcast/quote", {"message": "Doors open at 8", **body})
    assert answer.status_code == 200, answer.data
    return answer.get_json()


def _price(caller):
    answer = caller._http.put("/api/prices", json=_PRICES, headers=caller._headers)
    assert answer.status_code == 200


def test_a_quote_says_to_whom_in_how_many_parts_at_what_cost(caller, ctx, sandbox):
    _price(caller)
    stop(ctx, _PEOPLE[0])

    quote = _quote(
        caller,
        recipients=[*_PEOPLE, _PEOPLE[1], "+12015550123", "nobody"],
        skip_invalid=True,
        message="x" * 161,
    )

    token = quote.pop("token")
    assert isinstance(token, str)
    zones = [(group["zone"], group["recipients"]) for group in quote.pop("zones")]
    assert zones == [("Europe/Stockholm", 5), ("America/New_York", 1)]
    assert quote == {
        "recipients": 6,
        "countries": {
            "SE": {"recipients": 5, "parts": 10, "cost": "0.5"},
            "US": {"recipients": 1, "parts": 2, "cost": "0.2"},
        },
        "excluded": {"opted_out": 1},
        "expired_before_window": 0,
        "deferred": [],
        "invalid_numbers": ["nobody"],
        "invalid_count": 1,
        "duplicates_removed": 1,
        "texts": [
            {
                "language": None,
                "text": "x" * 161,
                "recipients": 6,
                "encoding": "GSM-7",
                "characters": [],
                "cheaper": None,
            }
        ],
        "parts": 12,
        "parts_histogram": {"2": 6},
        "cost": {"amount": "0.7", "currency": "EUR", "unpriced": []},
        "warnings": [],
        "sending_s": None,
        "dry_run": None,
    }
    assert sandbox.recipients() == []


def test_without_prices_there_is_no_cost(asker):
    quote = _quote(asker, recipients=_PEOPLE)

    assert quote["cost"] is None
    assert quote["countries"]["SE"]["cost"] is None


def test_characters_that_make_a_text_costly_are_named_with_cheaper_ones(asker):
    (text,) = _quote(asker, recipients=_PEOPLE, message="It’s on — 50% off")["texts"]

    assert text["encoding"] == "UCS-2"
    assert [(each["character"], each["look_alike"]) for each in text["characters"]] == [
        ("’", "'"),
        ("—", "-"),
    ]
    assert text["cheaper"] == "It's on - 50% off"


def test_the_way_out_is_in_the_quote(caller, ctx):
    add_people(ctx, _PEOPLE)

    quote = _quote(caller, recipients=_PEOPLE, category="marketing", message="x" * 150)

    assert quote["texts"][0]["text"].endswith("\nReply STOP to unsubscribe")
    assert quote["parts"] == 12


def test_it_says_when_those_go_for_whom_it_is_quiet(make_service, sandbox, database_url):
    service = make_service(DATABASE_URL=database_url)
    ctx = service.extensions["clarion"]
    hours = {"SE": (time(20), time(8)), "JP": (time(20), time(8))}
    service.extensions["clarion"] = replace(
        ctx, subscriber_rules=SubscriberRules(quiet_hours=hours)
    )
    now = datetime.now(UTC)
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    shift_clock(service, (noon - now).total_seconds())
    add_people(ctx, [*_PEOPLE, "+819012345678"])

    quote = _quote(Caller(service), recipients=[*_PEOPLE, "+819012345678"], category="marketing")

    (opening,) = quote["deferred"]
    assert opening["recipients"] == 1
    assert datetime.fromisoformat(opening["at"]).time() == time(23)  # 08:00 in Japan
    assert quote["recipients"] == 7
    assert [(group["zone"], group["country"]) for group in quote["zones"]] == [
        ("Europe/Stockholm", "SE"),
        ("Asia/Tokyo", "JP"),
    ]
    assert [group["recipients"] for group in quote["zones"]] == [6, 1]
    at_once, later = (datetime.fromisoformat(group["send_at"]) for group in quote["zones"])
    assert (at_once.hour, later.isoformat()) == (12, opening["at"])


def test_zones_are_the_stored_one_else_that_of_the_number_else_none(caller, ctx):
    many_zones = "+61412345678"  # a mobile of Australia
    add_people(ctx, _PEOPLE[:1], time_zone="Asia/Tokyo")
    start = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    people = [*_PEOPLE, "+447400123456", many_zones]

    quote = _quote(caller, recipients=people, send_at=start.isoformat())

    assert {(group["zone"], group["country"], group["recipients"]) for group in quote["zones"]} == {
        ("Europe/Stockholm", "SE", 5),
        ("Asia/Tokyo", "SE", 1),
        ("Europe/London", "GB", 1),  # Guernsey and the others have the same time
        (None, "AU", 1),
    }
    assert {datetime.fromisoformat(group["send_at"]) for group in quote["zones"]} == {start}


def test_it_is_never_sent_where_quiet_hours_end_too_late(make_service, sandbox):
    service = make_service(QUIET_HOURS="SE=00:00-00:00,*=00:00-23:00")
    add_people(service.extensions["clarion"], [*_PEOPLE, "+819012345678"])
    now = datetime.now(UTC)
    start = (now + timedelta(days=1)).replace(hour=3)
    times = {"send_at": start.isoformat(), "expire_at": (start + timedelta(hours=1)).isoformat()}
    body = {"recipients": [*_PEOPLE, "+819012345678"], "category": "marketing"}

    quote = _quote(Caller(service), **body, **times)

    assert [(group["zone"], group["send_at"] is None) for group in quote["zones"]] == [
        ("Europe/Stockholm", False),
        ("Asia/Tokyo", True),
    ]
    assert (quote["recipients"], quote["expired_before_window"]) == (6, 1)


def test_the_plans_rate_says_how_long_it_takes(make_service, sandbox):
    caller = Caller(make_service(SINCH_MESSAGES_PER_SECOND="2"))

    assert _quote(caller, recipients=_PEOPLE, message="x" * 161)["sending_s"] == 6.0


def test_sinch_counts_the_same_parts_when_asked(caller):
    quote = _quote(
        caller,
        recipients=_PEOPLE,
        message="Hi ${name}",
        parameters={"name": {_PEOPLE[0]: "Ж" * 80, "default": "you"}},
        dry_run=True,
    )

    assert quote["dry_run"]["our_parts"] == quote["parts"] == 7
    assert quote["dry_run"]["recipients"] == 6


def test_a_send_with_its_quote_goes_out(caller, ctx, sandbox):
    add_people(ctx, _PEOPLE, tags=["vip"])
    quote = _quote(caller, audience={"any": ["vip"]})

    body = {"message": "Doors open at 8", "quote": quote["token"]}
    answer = caller.post("/api/broadcast/tag/vip", body)

    assert answer.status_code == 202
    assert sandbox.recipients() == _PEOPLE


@pytest.mark.parametrize("moved", ["audience", "text", "cost", "category"])
def test_a_send_whose_quote_moved_is_refused(caller, ctx, sandbox, moved):
    _price(caller)
    add_people(ctx, _PEOPLE, tags=["vip"])
    body = {"audience": {"any": ["vip"]}, "message": "Doors open at 8"}
    body["quote"] = _quote(caller, **body)["token"]
    if moved == "audience":
        stop(ctx, _PEOPLE[0])
        add_people(ctx, ["+46700999999"], tags=["vip"])  # as many as before
    elif moved == "text":
        body["message"] = "Doors open at 9"
    elif moved == "category":
        body["category"] = "marketing"
    else:
        higher = {"currency": "EUR", "prices": {"SE": "0.06"}}
        caller._http.put("/api/prices", json=higher, headers=caller._headers)

    answer = caller.post("/api/broadcast", body)

    assert answer.status_code == 409
    assert sandbox.recipients() == []


def test_within_its_tolerance_a_quote_holds(caller, ctx, sandbox):
    people = many_numbers(100)
    add_people(ctx, people, tags=["vip"])
    body = {"audience": {"any": ["vip"]}, "message": "Doors open at 8"}
    body["quote"] = _quote(caller, **body)["token"]
    stop(ctx, people[0])

    refused = caller.post("/api/broadcast", body | {"quote_tolerance": 0})
    accepted = caller.post("/api/broadcast", body | {"quote_tolerance": 2})

    assert refused.status_code == 409
    assert (
        "recipients from 100 to 99; excluded from 0 to 1; parts from 100 to 99"
        in (refused.get_json()["error"])
    )
    assert (refused.get_json()["recipients"], refused.get_json()["parts"]) == (99, 99)
    assert accepted.status_code == 202


def test_a_cost_that_changed_is_told_with_both_amounts(caller, sandbox):
    _price(caller)
    body = {"recipients": _PEOPLE, "message": "Doors open at 8"}
    body["quote"] = _quote(caller, **body)["token"]
    higher = {"currency": "EUR", "prices": {"SE": "0.06"}}
    caller._http.put("/api/prices", json=higher, headers=caller._headers)

    refused = caller.post("/api/broadcast", body | {"quote_tolerance": 19})
    accepted = caller.post("/api/broadcast", body | {"quote_tolerance": 20})

    assert refused.status_code == 409
    assert "more than 19 %: cost from 0.3 EUR to 0.36 EUR." in refused.get_json()["error"]
    assert accepted.status_code == 202


def test_a_token_of_another_currency_is_refused_whatever_the_tolerance(caller, sandbox):
    _price(caller)
    body = {"recipients": _PEOPLE, "message": "Doors open at 8", "quote_tolerance": 100}
    body["quote"] = _quote(caller, **body)["token"]
    crowns = {"currency": "SEK", "prices": {"SE": "0.05"}}
    caller._http.put("/api/prices", json=crowns, headers=caller._headers)

    refused = caller.post("/api/broadcast", body)

    assert refused.status_code == 409
    assert sandbox.recipients() == []


@pytest.mark.parametrize("token", ["x", "a.b.c", "é"])
def test_a_token_that_is_none_is_refused(asker, token):
    body = {"recipients": _PEOPLE, "message": "Hello", "quote": token}

    answer = asker.post("/api/broadcast", body)

    assert answer.status_code == 400
    assert "quote" in answer.get_json()["fields"]


@pytest.mark.parametrize("seed", range(examples(6)))
def test_what_is_sent_is_what_was_quoted(either_service, sandbox, at_sinch, seed):
    lot = draw_lots(seed)
    ctx = either_service.extensions["clarion"]
    caller = Caller(either_service)
    body = _fill(ctx, lot)

    quote = _quote(caller, **body)
    answer = caller.post("/api/broadcast", body | {"quote": quote["token"]})
    work_off(either_service)

    assert answer.status_code == 202, answer.data
    sent = at_sinch()
    recipients = [number for batch in sent for number in batch["to"]]
    assert len(recipients) == quote["recipients"]
    assert _count_countries(recipients) == {
        country: each["recipients"] for country, each in quote["countries"].items()
    }
    parts = [n for batch in sent for n in _list_parts(batch)]
    assert sum(parts) == quote["parts"]
    assert Counter(map(str, parts)) == quote["parts_histogram"]
    shown = caller.show(answer)
    assert shown["excluded"] == quote["excluded"]


def _fill(ctx, lot):
    """Random people, and a broadcast to some of them."""
    swedes = many_numbers(lot.randint(1, 1_500))
    others = [f"+1201555{n:04d}" for n in range(lot.randint(0, 30))]
    people = swedes + others
    lot.shuffle(people)
    names = [None, "Ann", "Ж" * 30, "x" * 100, "😀" * 20]
    for name in names:
        part, people[:] = people[: len(people) // 3], people[len(people) // 3 :]
        if part:
            consented = lot.random() < 0.7
            language = lot.choice([None, "sv", "en"])
            details = {"first_name": name, "language": language, "consented": consented}
            add_people(ctx, part, tags=["all"], **details)
            stop(ctx, *lot.sample(part, len(part) // 10))
    if people:
        add_people(ctx, people, tags=["all"])
    body = {
        "message": lot.choice(["Doors open at 8", "Hi ${first_name}!" + "y" * 60, "Ж" * 75]),
        "category": lot.choice(["marketing", "transactional"]),
        "parameters": {"first_name": {"default": "you"}} if lot.random() < 0.5 else {},
        "allow_duplicate": True,
    }
    if lot.random() < 0.5:
        return body | {"audience": {"any": ["all"]}}
    body["parameters"] = {"first_name": {"default": "you"} | {swedes[0]: "Ж"}}
    return body | {"recipients": swedes[:700] + others}


def _count_countries(numbers):
    return Counter("SE" if number.lstrip("+").startswith("46") else "US" for number in numbers)


def _list_parts(batch):
    """How many parts each recipient's text takes, by the sandbox's own count."""
    for number in batch["to"]:
        text = batch["body"]
        for name, values in (batch.get("parameters") or {}).items():
            value = values.get(f"+{number.lstrip('+')}", values.get("default", ""))
            text = text.replace(f"${{{name}}}", value)
        yield _measure(text)


def _measure(text):

    return count_parts(text)


@pytest.mark.parametrize(
    "amount",
    [
        *("9⁹⁹€", "1⅓ kg", "5⅜”", "10² m", "10⁻³", "2ⁿ", "H₂O", "½ off", "⅒", "1⁄3", "↉", "⅟3"),
        *("①②", "⒈", "⑽", "⓪", "❶", "➊", "🄀", "🄂", "㉑", "㊿", "⓫", "⑴"),
        *("𝟗𝟗", "𝟡", "𝟫", "𝟿", "９９", "٩", "९", "๙", "〇", "一", "㆒", "㋀"),
        *("Ⅻ", "ⅳ", "ↀ", "Ⅰ", "ⅿ", "Ƽ", "Ƨ", "5·3", "5•3", "9‚99", "9‧99", "9᛫99", "9‸99", "9。99"),
        *("5‰", "5‱", "₂", "⁽²⁾", "x⁽ⁿ⁾", "99¢", "50₽", "−5", "2×3", "6÷2", "≤5", "5½"),
    ],
)
def test_a_cheaper_spelling_never_changes_an_amount(asker, amount):
    (text,) = _quote(asker, recipients=_PEOPLE, message=f"Only {amount} – today’s price")["texts"]

    assert text["cheaper"] is None


@pytest.mark.parametrize(
    ("text", "cheaper"),
    [
        ("5–10 €", "5-10 €"),
        ("1’000 kr", "1'000 kr"),
        ("1\u202f000 kr", "1 000 kr"),
        ("“9,99 €”…", '"9,99 €"...'),
        ("07\u200b01", "0701"),
        ("ﬁve Čapek", "five Capek"),
    ],
)
def test_a_sign_that_leaves_the_amount_as_it_is_gets_a_cheaper_spelling(asker, text, cheaper):
    (quoted,) = _quote(asker, recipients=_PEOPLE, message=f"Only {text} – ok")["texts"]

    assert quoted["cheaper"] == f"Only {cheaper} - ok"


@pytest.mark.parametrize("text", NO_WAYS_OUT[:-1])
def test_marketing_without_an_instruction_gets_the_way_out(asker, text):
    (quoted,) = _quote(asker, recipients=_PEOPLE, category="marketing", message=text)["texts"]

    assert quoted["text"] == f"{text}\nReply STOP to unsubscribe"


@pytest.mark.parametrize("text", WAYS_OUT)
def test_marketing_with_an_instruction_stays_as_it_is(asker, text):
    (quoted,) = _quote(asker, recipients=_PEOPLE, category="marketing", message=text)["texts"]

    assert quoted["text"] == text


@pytest.mark.parametrize(
    ("text", "is_sent"),
    [
        ("Sale!", False),
        ("Sale! Reply STOP to end", False),
        ("Sale! STOP to unsubscribe", False),
        ("20000 pairs of shoes, reply STOP to end", False),
        ("Rea! Svara STOPP för att slippa", False),
        ("特价！回复TD退订", False),
        ("Sale! Opt out: acme.example/out", True),
        ("Sale! To opt out, text STOP to 12345", True),
        ("Rea! Skicka STOPP till 72456", True),
        ("Promo ! STOP 36111", True),
        ("Rabatt! Abmelden: 0800 123 456", True),
    ],
)
def test_marketing_from_a_name_has_to_name_a_way_out_that_needs_no_reply_to_it(
    asker, text, is_sent
):
    body = {"recipients": _PEOPLE, "category": "marketing", "sender": "Acme", "message": text}

    answer = asker.post("/api/broadcast/quote", body)

    if is_sent:
        assert answer.get_json()["texts"][0]["text"] == text
    else:
        assert answer.status_code == 400
        assert "Acme takes no replies" in answer.get_json()["fields"]["message"][0]
