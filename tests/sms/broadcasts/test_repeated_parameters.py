"""A query parameter that comes twice says two things: neither is chosen in silence."""

import pytest


@pytest.mark.parametrize("query", [{"limit": [1, 2]}, {"status": ["queued", "sending"]}])
def test_a_question_that_says_two_things_is_refused(caller, query):
    answer = caller.get("/api/broadcasts", **query)

    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {name: ["Given more than once."] for name in query}
