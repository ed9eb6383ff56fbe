"""The drill of a restore: a backup under load, a kill, a restore, and nobody gets a text twice."""

import pytest

from tests.callers import count_taken
from tests.commands import FLASK, run_command
from tests.factories import broadcast_to, many_numbers, settings
from tests.kills.judging import is_settled
from tests.kills.mortal import PATIENT, Clients, mortal, wait_until

# A deadline of a test that hangs, and of nothing else: a busy machine takes minutes.
SOON_S = 300.0
ORDERS_BEFORE, ORDERS_AFTER = 15, 30
_NEW = "+46731234567"


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request, tmp_path, monkeypatch):
    """The URLs of the database in use, and of one without tables to restore to."""
    if request.param == "sqlite":
        return request.getfixturevalue("database_url"), f"sqlite:///{tmp_path / 'restored.db'}"
    server = request.getfixturevalue("postgres")
    monkeypatch.setenv("PATH", f"{server.binaries}:/usr/bin:/bin")
    return server.create_database(), server.create_empty_database()


def make_order(number):
    """Each third goes out in the background, in several batches."""
    count = 2_500 if number % 3 == 0 else 1
    return broadcast_to(*many_numbers(count, start=number * 2_500))


def flask(url, *arguments):
    ended = run_command([*FLASK, *arguments], settings(DATABASE_URL=url))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_a_restored_backup_texts_nobody_twice(sinch, databases, tmp_path):
    in_use, restored = databases
    common = PATIENT | {"SINCH_REGION_URL": sinch.url}
    with mortal(tmp_path, **common, DATABASE_URL=in_use) as service:
        clients = Clients(service.start().url, make_order, pause_s=0.02)
        with clients.sending(threads=3):
            wait_until(lambda: len(clients.orders) > ORDERS_BEFORE, within_s=SOON_S, why="load")
            backup, *_ = flask(in_use, "backup", "create", str(tmp_path / "backups"))
            copies_then = sinch.copies()
            wait_until(lambda: len(clients.orders) > ORDERS_AFTER, within_s=SOON_S, why="load")
            service.kill()

    said = flask(restored, "backup", "restore", backup)

    assert said[0].startswith("Restored, in restore mode: ")
    with mortal(tmp_path, **common, DATABASE_URL=restored) as service:
        service.start()
        wait_until(lambda: is_settled(service), within_s=SOON_S, why="sinch was asked about all")
        service.service.post(broadcast_to(_NEW, message="Sent after the restore"))
        wait_until(lambda: sinch.copies()[_NEW], within_s=SOON_S, why="sending goes on")
        check_copies(service, clients, sinch.copies())
        assert sinch.copies().total() > copies_then.total()
        for reference in service.attention():
            service.resolve(reference, "resend")
        wait_until(lambda: is_settled(service), within_s=SOON_S, why="what was decided is sent")
        copies = sinch.copies()
        numbers = check_copies(service, clients, copies)
        assert {number: copies[number] for number in numbers} == dict.fromkeys(numbers, 1)
        assert service.violations() == []


def check_copies(service, clients, copies):
    """Nobody has two copies; whom the books call reached has one.

    Returns the numbers of the broadcasts that the backup has.
    """
    assert {number: n for number, n in copies.items() if n > 1} == {}
    orders = {order.key: order for order in clients.orders}
    numbers = []
    for book in service.books():
        order = orders.get(book["reference"])
        if order is not None:
            assert sum(copies[number] for number in order.numbers) == count_taken(book["counts"])
            numbers += order.numbers
    assert numbers
    return numbers
