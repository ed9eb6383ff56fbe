"""Audiences that are saved by name: listed, saved, changed, deleted."""

import pytest

REGULARS = {
    "any": ["customers"],
    "where": [{"field": "attributes.city", "op": "eq", "value": "Lund"}],
}


def save(caller, name, audience=REGULARS):
    return caller.post("/api/audiences", {"name": name, "audience": audience})


def names(caller):
    return [saved["name"] for saved in caller.get("/api/audiences").get_json()["audiences"]]


def test_an_audience_is_saved_listed_and_deleted(caller):
    answer = save(caller, "  Regulars  of LUND ")

    assert answer.status_code == 201
    (listed,) = caller.get("/api/audiences").get_json()["audiences"]
    assert listed == answer.get_json()
    assert listed["name"] == "regulars of lund"
    assert listed["audience"] == {"all": [], "none": []} | REGULARS
    assert caller.delete("/api/audiences/Regulars%20of%20Lund").status_code == 204
    assert names(caller) == []
    assert caller.delete("/api/audiences/regulars").status_code == 404


def test_a_name_is_taken_once_whatever_its_case(caller):
    save(caller, "regulars")
    save(caller, "others")

    assert save(caller, "REGULARS").status_code == 409
    answer = caller.patch("/api/audiences/others", {"name": "Regulars"})
    assert answer.status_code == 409
    assert answer.get_json()["error"] == "There is an audience regulars already."
    assert names(caller) == ["regulars", "others"]


def test_a_saved_audience_is_renamed_and_replaced(caller):
    save(caller, "regulars")

    answer = caller.patch("/api/audiences/regulars", {"name": "all", "audience": {"any": ["vip"]}})

    assert answer.status_code == 200
    assert answer.get_json()["audience"]["any"] == ["vip"]
    assert names(caller) == ["all"]
    assert caller.patch("/api/audiences/regulars", {"name": "x"}).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a/b", "audience": REGULARS}, "name"),
        ({"name": "regulars", "audience": {"none": ["staff"]}}, "audience"),
        ({"name": "regulars"}, "audience"),
    ],
)
def test_what_is_wrong_is_named(caller, body, field):
    answer = caller.post("/api/audiences", body)

    assert answer.status_code == 400
    assert field in answer.get_json()["fields"]


def test_a_page_of_audiences_names_the_next(caller):
    for name in ("a", "b", "c"):
        save(caller, name)

    first = caller.get("/api/audiences", limit=2).get_json()

    assert [saved["name"] for saved in first["audiences"]] == ["a", "b"]
    rest = caller.get("/api/audiences", cursor=first["cursor"]).get_json()
    assert [saved["name"] for saved in rest["audiences"]] == ["c"]
