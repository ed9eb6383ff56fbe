"""Texts and MMS from phones."""

import pytest
import requests


def test_a_text_is_kept_and_can_be_listed(sinch, control):
    text = control.text_from("+46 70-0000001", "STOP", operator_id="24001",
                             sent_at="2026-03-01T12:00:00Z", client_reference="r")  # fmt: skip
    other = control.text_from("46700000002", "hi", to="46700000900")

    assert text["from"] == "46700000001"
    assert (text["type"], text["body"], text["operator_id"]) == ("mo_text", "STOP", "24001")
    listed = sinch.get("/inbounds")
    assert [i["id"] for i in listed["inbounds"]] == [other["id"], text["id"]]
    assert (listed["count"], listed["page"], listed["page_size"]) == (2, 0, 2)


def test_inbounds_are_listed_for_a_day_unless_told_and_kept_for_fourteen(sinch, control):
    control.text_from("46700000001", "hi")
    control.advance(24 * 3600 + 1)
    since_ever = {"start_date": "2020-01-01T00:00:00Z"}

    assert sinch.get("/inbounds")["count"] == 0
    assert sinch.get("/inbounds", **since_ever)["count"] == 1
    control.advance(13 * 24 * 3600)
    assert sinch.get("/inbounds", **since_ever)["count"] == 0


@pytest.mark.parametrize("text", [
    {"type": "mo_media", "body": {"media": ["x"]}}, {"body": "x", "sent_at": "noon"},
    {"body": "x", "sent_at": 5}, {"body": "x", "client_reference": 5},
])  # fmt: skip
def test_an_inbound_that_cannot_be_one_is_400(control, text):
    answer = requests.post(f"{control.url}/control/inbounds",
                           json={"from": "46700000001"} | text, timeout=5)  # fmt: skip

    assert answer.status_code == 400


def test_an_mms_has_its_media(control):
    media = control.text_from("12015550101", {"subject": "s", "message": "m",
                              "media": [{"url": "https://h/i.png"}]}, type="mo_media")  # fmt: skip

    assert media["body"]["media"] == [{"url": "https://h/i.png", "content_type": "image/png",
                                       "status": "Uploaded", "code": 0}]  # fmt: skip
