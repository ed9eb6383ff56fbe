"""Stored texts: every version of them is kept, in every language."""

import pytest

from app.db.viewer import NO_WALL
from app.errors import NotFound
from app.sms.content.templates import (
    TemplateTexts,
    archive_template,
    create_template,
    load_template,
)
from tests.callers import Caller
from tests.machine import Together

EN, SV = "Hi ${first_name}, ${city}!", "Hej ${first_name} i ${city}!"
WELCOME = {"texts": {"en": EN, "SV": f" {SV} "}, "default_language": "EN"}
HI = TemplateTexts(texts={"en": "Hi"}, default_language="en")


def _create(caller, name="welcome", **more):
    answer = caller.post("/api/templates", {"name": name, **WELCOME, **more})
    assert answer.status_code == 201, answer.get_json()
    return answer.get_json()


def test_a_template_is_kept_in_all_its_languages(either_service):
    caller = Caller(either_service)

    made = _create(caller)

    assert (made["name"], made["version"], made["newest_version"]) == ("welcome", 1, 1)
    assert made["texts"] == {"en": EN, "sv": SV}
    assert (made["default_language"], made["placeholders"]) == ("en", ["first_name", "city"])
    assert caller.get("/api/templates/welcome").get_json() == made
    assert caller.get("/api/templates").get_json() == {"templates": [made], "cursor": None}
    assert caller.post("/api/templates", {"name": "welcome", **WELCOME}).status_code == 409


def test_a_new_version_leaves_the_old_one_as_it_was(either_service):
    caller = Caller(either_service)
    first = _create(caller)

    new = {"texts": {"en": "Hello ${first_name}"}, "default_language": "en"}
    second = caller.put("/api/templates/welcome", new).get_json()

    assert (second["version"], second["texts"]) == (2, new["texts"])
    old = caller.get("/api/templates/welcome/versions/1").get_json()
    assert old == {**first, "newest_version": 2}
    # The same again is no new version.
    assert caller.put("/api/templates/welcome", new).get_json() == second
    for missing in ("welcome/versions/3", f"welcome/versions/{2**70}", "nothing"):
        assert caller.get(f"/api/templates/{missing}").status_code == 404
    assert caller.put("/api/templates/nothing", new).status_code == 404


def test_an_archived_template_is_read_and_not_sent(service):
    caller, ctx = Caller(service), service.extensions["clarion"]
    _create(caller)

    assert caller.delete("/api/templates/welcome").status_code == 204

    shown = caller.get("/api/templates/welcome").get_json()
    assert shown["archived_at"] is not None
    assert caller.get("/api/templates").get_json()["templates"] == []
    with ctx.db.read() as tx:
        for version in (None, 1):
            with pytest.raises(NotFound):
                load_template(tx, NO_WALL, "welcome", version)
    for answer in (
        caller.delete("/api/templates/welcome"),
        caller.put("/api/templates/welcome", WELCOME),
    ):
        assert answer.status_code == 404
    # Back again it goes on counting: no version ever means two texts.
    assert _create(caller)["version"] == 2
    listed = caller.get("/api/templates").get_json()["templates"]
    assert [each["version"] for each in listed] == [2]


def test_a_template_is_loaded_in_the_version_asked_for(either_service):
    ctx = either_service.extensions["clarion"]
    create_template(ctx, "hi", HI, client="tests")
    archive_template(ctx, "hi", actor="tests")
    again = TemplateTexts(texts={"sv": "Hej"}, default_language="sv")
    create_template(ctx, "hi", again, client="tests")

    with ctx.db.read() as tx:
        newest, first = load_template(tx, NO_WALL, "hi", None), load_template(tx, NO_WALL, "hi", 1)

    assert (newest.version, newest.texts, newest.default_language) == (2, {"sv": "Hej"}, "sv")
    assert (first.version, first.texts, first.default_language) == (1, {"en": "Hi"}, "en")


FAULTY = [
    ({"name": "a b"}, "name"),
    ({"name": "../x"}, "name"),
    ({"name": "x\n"}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"texts": {}}, "texts"),
    ({"texts": ["Hi"]}, "texts"),
    ({"texts": {"en": 7}}, "texts"),
    ({"texts": {"en": " "}}, "texts"),
    ({"texts": {"en": "x" * 2001}}, "texts"),
    ({"texts": {"en": "a\0b"}}, "texts"),
    ({"texts": {"en": "Hi ${first name}"}}, "texts"),
    ({"texts": {"english": "Hi"}}, "texts"),
    ({"texts": {"en": "Hi", "EN": "Hi"}}, "texts"),
    ({"texts": {"en": "Hi ${a}", "sv": "Hej ${b}"}}, "texts"),
    ({"texts": {"sv": "Hej"}}, "default_language"),
    ({"default_language": "english"}, "default_language"),
    ({"version": 1}, "version"),
]


def test_a_text_that_could_not_be_sent_is_not_stored(service):
    caller = Caller(service)

    for given, field in FAULTY:
        answer = caller.post("/api/templates", {"name": "welcome", **WELCOME, **given})
        assert (answer.status_code, list(answer.get_json()["fields"])) == (400, [field]), given

    assert caller.get("/api/templates").get_json()["templates"] == []


def test_a_list_of_templates_goes_on_where_it_ended(service):
    caller = Caller(service)
    for name in ("a", "b", "c"):
        _create(caller, name)

    first = caller.get("/api/templates", limit=2).get_json()
    rest = caller.get("/api/templates", limit=2, cursor=first["cursor"]).get_json()

    names = [each["name"] for each in first["templates"] + rest["templates"]]
    assert (names, rest["cursor"]) == (["a", "b", "c"], None)


def test_of_several_who_make_it_at_once_one_does(either_service):
    caller = Caller(either_service)
    body = {"name": "welcome", **WELCOME}

    answers = Together(*[lambda: Caller(either_service).post("/api/templates", body)] * 4).join()

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert caller.get("/api/templates/welcome").get_json()["version"] == 1
