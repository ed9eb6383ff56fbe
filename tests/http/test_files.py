"""Files that are sent to clients: a few at a time, and no thread is lost for a dropped one."""

import pytest
from flask import g

from app.auth import Client
from app.errors import NotFound
from app.http.files import CSV, make_csv_response
from app.rate_limit import Overloaded


@pytest.fixture(autouse=True)
def in_a_request(service):
    with service.test_request_context():
        g.client = Client("tests", frozenset())
        yield


def start(*blocks):
    return make_csv_response(lambda: blocks or ("a\n", "b\n"), "x.csv", {})


def test_a_file_has_all_its_blocks():
    response = start("phone\n", "+46701234567\n")

    assert (response.mimetype, response.get_data(as_text=True)) == (CSV, "phone\n+46701234567\n")


def test_a_few_files_are_sent_at_a_time_and_others_are_asked_to_come_back():
    sent = [start() for _ in range(8)]

    with pytest.raises(Overloaded, match="Repeat this request"):
        make_csv_response(lambda: pytest.fail("it was begun"), "x.csv", {})

    sent.pop().get_data()  # to its end
    sent[0].close()  # its client has gone
    assert [start().get_data(), start().get_data()] == [b"a\nb\n"] * 2


def test_a_file_that_breaks_off_leaves_its_place_to_others():
    def break_off():
        yield "a\n"
        raise RuntimeError("the database is gone")

    for _ in range(20):
        with pytest.raises(RuntimeError, match="gone"):
            make_csv_response(break_off, "x.csv", {}).get_data()


def test_a_file_that_cannot_begin_leaves_its_place_to_others():
    def refuse():
        raise NotFound("no such broadcast")

    for _ in range(20):
        with pytest.raises(NotFound):
            make_csv_response(refuse, "x.csv", {})
