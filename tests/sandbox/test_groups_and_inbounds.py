"""Groups, and texts from people."""

from datetime import UTC, datetime, timedelta

import pytest
import requests

from tests.sandbox.test_send import CONSTRAINT, FORMAT, refusal


def create(sinch, **group):
    answer = sinch.ask("POST", "/groups", json=group)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_group_is_created_read_changed_and_deleted(sinch):
    group = create(sinch, name="Parents", members=["+46700000001", "46700000001"])
    path = f"/groups/{group['id']}"

    changed = sinch.ask("POST", path, json={
        "add": ["46700000002", "46700000003"], "remove": ["46700000003", "46700000009"],
        "name": None,
    }).json()  # fmt: skip

    assert (group["name"], group["size"]) == ("Parents", 1)
    assert "name" not in changed
    assert sinch.get(path)["size"] == 2
    assert sinch.ask("GET", f"{path}/members").json() == ["46700000001", "46700000002"]
    assert sinch.ask("PUT", path, json={"members": ["46700000007"]}).json()["size"] == 1
    assert sinch.get("/groups")["count"] == 1
    assert sinch.ask("DELETE", path).status_code == 200
    assert sinch.ask("GET", path).status_code == 404


def test_members_move_between_groups(sinch):
    one = create(sinch, members=["46700000001", "46700000002"])
    two = create(sinch, members=["46700000002"])

    sinch.ask("POST", f"/groups/{two['id']}", json={"add_from_group": one["id"]})
    sinch.ask("POST", f"/groups/{one['id']}", json={"remove_from_group": two["id"]})

    assert sinch.get(f"/groups/{two['id']}")["size"] == 2
    assert sinch.get(f"/groups/{one['id']}")["size"] == 0


@pytest.mark.parametrize(("group", "expected"), [
    ({"name": "x" * 21}, CONSTRAINT),
    ({"members": ["x"]}, FORMAT),
    ({"members": ["46700000001"] * 10_001}, CONSTRAINT),
    ({"child_groups": ["01JX0000000000000000000001"]}, (403, "unknown_group")),
    ({"auto_update": {"to": "1", "add": {"first_word": "two words"}}}, CONSTRAINT),
    ({"name": "taken"}, (403, "conflict_group_name")),
])  # fmt: skip
def test_a_bad_group_is_refused(sinch, group, expected):
    create(sinch, name="taken")

    assert refusal(sinch.ask("POST", "/groups", json=group)) == expected


def test_a_group_is_expanded_when_the_batch_starts(sinch, control):
    child = create(sinch, members=["46700000003"])
    group = create(sinch, members=["46700000001"], child_groups=[child["id"]])
    send_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    batch = sinch.send(group["id"], "46700000001", send_at=send_at)["id"]

    sinch.ask("POST", f"/groups/{group['id']}", json={"add": ["46700000002"]})
    control.advance(3700)

    report = sinch.get(f"/batches/{batch}/delivery_report", type="full")
    assert report["statuses"][0]["recipients"] == ["46700000001", "46700000002", "46700000003"]


def test_a_group_deleted_before_the_batch_starts_is_empty(sinch, control):
    group = create(sinch, members=["46700000001"])
    send_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    batch = sinch.send(group["id"], send_at=send_at)["id"]

    sinch.ask("DELETE", f"/groups/{group['id']}")
    control.advance(3700)

    assert sinch.statuses(batch) == {}


def test_a_keyword_puts_its_sender_into_a_group_and_takes_it_out(sinch, control):
    group = create(sinch, auto_update={"to": "46700000900", "add": {"first_word": "JOIN"},
                                       "remove": {"first_word": "LEAVE"}})  # fmt: skip
    path = f"/groups/{group['id']}"

    control.text_from("46700000001", "join please", to="46700000900")
    joined = sinch.get(path)["size"]
    control.text_from("46700000001", "Leave", to="46700000900")

    assert (joined, sinch.get(path)["size"]) == (1, 0)


def test_a_text_is_kept_and_can_be_listed_and_read(sinch, control):
    text = control.text_from("+46 70-0000001", "STOP", operator_id="24001",
                             sent_at="2026-03-01T12:00:00Z", client_reference="r")  # fmt: skip
    other = control.text_from("46700000002", "hi", to="46700000900")

    assert text["from"] == "46700000001"
    assert (text["type"], text["body"], text["operator_id"]) == ("mo_text", "STOP", "24001")
    listed = sinch.get("/inbounds")
    assert [i["id"] for i in listed["inbounds"]] == [other["id"], text["id"]]
    assert (listed["count"], listed["page"], listed["page_size"]) == (2, 0, 2)
    assert sinch.get("/inbounds", to="+46700000900,1")["inbounds"] == [other]
    assert sinch.get("/inbounds", client_reference="r")["inbounds"] == [text]
    assert sinch.get(f"/inbounds/{text['id']}") == text
    assert refusal(sinch.ask("GET", "/inbounds/x")) == (404, "not_found")


def test_inbounds_are_listed_for_a_day_unless_told_and_kept_for_fourteen(sinch, control):
    text = control.text_from("46700000001", "hi")
    control.advance(24 * 3600 + 1)
    since_ever = {"start_date": "2020-01-01T00:00:00Z"}

    assert sinch.get("/inbounds")["count"] == 0
    assert sinch.get("/inbounds", **since_ever)["count"] == 1
    control.advance(13 * 24 * 3600)
    assert sinch.get("/inbounds", **since_ever)["count"] == 0
    assert sinch.ask("GET", f"/inbounds/{text['id']}").status_code == 404


def test_binary_and_media_inbounds_have_their_own_forms(control):
    binary = control.text_from("46700000001", "AQID", type="mo_binary", udh="060504158a0000")
    media = control.text_from("12015550101", {"subject": "s", "message": "m",
                              "media": [{"url": "https://h/i.png"}]}, type="mo_media")  # fmt: skip

    assert (binary["type"], binary["udh"]) == ("mo_binary", "060504158a0000")
    assert media["body"]["media"] == [{"url": "https://h/i.png", "content_type": "image/png",
                                       "status": "Uploaded", "code": 0}]  # fmt: skip


@pytest.mark.parametrize("text", [
    {"type": "mo_media", "body": {"media": ["x"]}}, {"body": "x", "sent_at": "noon"},
    {"body": "x", "sent_at": 5}, {"body": "x", "client_reference": 5},
])  # fmt: skip
def test_an_inbound_that_cannot_be_one_is_400(control, text):
    answer = requests.post(f"{control.url}/control/inbounds",
                           json={"from": "46700000001"} | text, timeout=5)  # fmt: skip

    assert answer.status_code == 400


def test_the_ledger_shows_a_group_by_its_id(sinch, control):
    group = create(sinch, members=["46700000001"])["id"]

    sinch.send(group, "46700000002")

    assert control.recipients() == [group, "+46700000002"]
