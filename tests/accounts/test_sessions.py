"""Sessions: signing in, waits after wrong passwords, and what ends a session."""

import time

import pytest
from sqlalchemy import select

from app.accounts.forms import use_form
from app.accounts.models import SignInWait, UsedForm, UserSession
from app.accounts.roles import Role
from app.accounts.sessions import (
    ABSOLUTE_S,
    IDLE_S,
    SignInRefused,
    end_all_sessions,
    end_session,
    purge_old_sessions,
    sign_in,
)
from app.db.base import table_of
from tests.accounts.people import (
    ADDRESS,
    PASSWORD,
    at_once,
    enter,
    find,
    invite,
    join,
    join_by_link,
)

ELSEWHERE = "198.51.100.7"


def _wait_s(accounts, *arguments, **more):
    """How long the answer to a refused try says to wait."""
    with pytest.raises(SignInRefused) as refused:
        enter(accounts, *arguments, **more)
    assert refused.value.sentence.startswith("That name and password do not belong together.")
    return refused.value.wait_s


def _fail(accounts, times, *arguments, **more):
    """Try a wrong password as often, each after the wait before.  The last wait goes on."""
    wait_s = 0
    for _ in range(times):
        accounts.clock.advance(wait_s)
        wait_s = _wait_s(accounts, *arguments, password="wrong", **more)
    return wait_s


def _rows(accounts, model):
    with accounts.db.read() as tx:
        return tx.execute(select(table_of(model))).all()


def _failures(accounts):
    return sorted(row.failures for row in _rows(accounts, SignInWait))


def test_a_user_signs_in_by_a_name_in_any_case_and_signs_out(either_accounts):
    user = join(either_accounts)

    token, other = enter(either_accounts, " ANNA"), enter(either_accounts)

    signed_in = find(either_accounts, token)
    assert (signed_in.user_id, signed_in.name, signed_in.role) == (user.id, "Anna", Role.SENDER)
    end_session(either_accounts.db, token)
    assert (find(either_accounts, token), find(either_accounts, other).name) == (None, "Anna")
    assert find(either_accounts, "") is find(either_accounts, "å\ud800\0") is None


def test_a_user_signs_out_everywhere(either_accounts):
    user = join(either_accounts)
    join(either_accounts, "Bo")
    tokens, of_another = (
        [enter(either_accounts), enter(either_accounts)],
        enter(either_accounts, "Bo"),
    )

    end_all_sessions(either_accounts.db, user.id)

    assert [find(either_accounts, token) for token in tokens] == [None, None]
    assert find(either_accounts, of_another)


def test_a_session_ends_after_twelve_hours_without_use(either_accounts):
    accounts, clock = either_accounts, either_accounts.clock
    join(accounts)
    token = enter(accounts)

    for _ in range(3):
        clock.advance(IDLE_S - 60)
        assert find(accounts, token)
    clock.advance(IDLE_S + 1)

    assert find(accounts, token) is None


def test_a_session_ends_after_a_week_even_in_use(accounts):
    join(accounts)
    token = enter(accounts)
    begun_at = accounts.now()

    while (accounts.now() - begun_at).total_seconds() + 3600 <= ABSOLUTE_S:
        assert find(accounts, token)
        accounts.clock.advance(3600)
    assert find(accounts, token)
    accounts.clock.advance(1)

    assert find(accounts, token) is None


def test_the_use_of_a_session_is_noted_at_most_once_a_minute(either_accounts):
    accounts, clock = either_accounts, either_accounts.clock
    join(accounts)
    token = enter(accounts)
    noted = []

    for _ in range(5):
        clock.advance(29)
        find(accounts, token)
        noted.append(_rows(accounts, UserSession)[0].seen_at)

    assert noted[0] == noted[1] < noted[2] == noted[3] == noted[4]


def test_a_database_that_takes_no_writes_still_knows_who_is_signed_in(accounts):
    join(accounts)
    token = enter(accounts)
    full = "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    with accounts.db.write() as tx:
        tx.exec_driver_sql(f"CREATE TRIGGER full BEFORE UPDATE ON user_sessions {full}")
    accounts.clock.advance(61)

    assert find(accounts, token).name == "Anna"


def test_a_clock_that_was_set_ahead_leaves_no_session_behind(accounts):
    join(accounts)
    accounts.clock.advance(30 * 86_400)
    token = enter(accounts)

    accounts.clock.set_back(30 * 86_400)

    assert find(accounts, token) is None
    assert enter(accounts)


def test_each_wrong_password_makes_the_wait_longer_and_a_minute_is_the_longest(either_accounts):
    accounts, clock = either_accounts, either_accounts.clock
    join(accounts)

    for wait_s in (1, 2, 4, 8, 16, 32, 60, 60):
        assert _wait_s(accounts, password="wrong") == wait_s
        assert _wait_s(accounts) == wait_s  # the right one is not looked at
        clock.advance(wait_s - 0.5)
        assert _wait_s(accounts) == 1
        clock.advance(0.5)

    assert enter(accounts)


def test_an_unknown_name_and_a_user_without_a_password_are_answered_alike(accounts):
    join(accounts)
    invite(accounts, "Otto")
    waits = []

    for name, address in (("Anna", "192.0.2.1"), ("Otto", "192.0.2.2"), ("Eva", "192.0.2.3")):
        waits.append([])
        for _ in range(4):
            waits[-1].append(_wait_s(accounts, name, "wrong", address=address))
            accounts.clock.advance(8)

    assert waits == [[1, 2, 4, 8]] * 3


@pytest.mark.slow
def test_an_unknown_name_takes_as_long_to_answer(accounts, full_work):
    """Three tries each; the bound is wide, since a look-up without a hash is a hundredth of it."""
    join_by_link(accounts)

    def measure(name):
        accounts.clock.advance(60)
        begun = time.monotonic()
        _wait_s(accounts, name, "wrong password")
        return time.monotonic() - begun

    known = min(measure("Anna") for _ in range(3))
    unknown = min(measure("Otto") for _ in range(3))

    assert unknown > known / 4


def test_a_success_ends_the_waits_of_the_name_but_not_those_of_the_address(either_accounts):
    accounts, clock = either_accounts, either_accounts.clock
    join(accounts)
    clock.advance(_fail(accounts, 3))

    assert enter(accounts)
    assert enter(accounts)

    assert _wait_s(accounts, password="wrong", address=ELSEWHERE) == 1
    assert _wait_s(accounts, "Otto", address=ADDRESS) == 8


def test_the_waits_of_an_address_are_for_all_names(either_accounts):
    join(either_accounts)
    waits = [0]

    for name in ("Bo", "Clo", "Dan", "Eva"):
        either_accounts.clock.advance(waits[-1])
        waits.append(_wait_s(either_accounts, name))

    assert waits == [0, 1, 2, 4, 8]
    assert _wait_s(either_accounts) == 8
    assert enter(either_accounts, address=ELSEWHERE)


def test_the_waits_of_a_name_are_for_all_addresses(accounts):
    join(accounts)
    waits = []

    for number in range(5):
        waits.append(_wait_s(accounts, password="wrong", address=f"203.0.113.{number}"))
        accounts.clock.advance(waits[-1])

    assert waits == [1, 2, 4, 8, 16]


def test_addresses_of_one_network_of_ipv6_are_one(accounts):
    join(accounts)

    _wait_s(accounts, "Otto", address="2001:db8:0:1::7")

    assert _wait_s(accounts, address="2001:db8:0:1:ffff::8") == 1
    assert enter(accounts, address="2001:db8:0:2::7")


def test_a_try_during_a_wait_does_not_prolong_it(accounts):
    join(accounts)
    _fail(accounts, 4)

    for _ in range(20):
        _wait_s(accounts, password="wrong")
    accounts.clock.advance(8)

    assert enter(accounts)


def test_wrong_passwords_are_forgotten_after_an_hour(either_accounts):
    join(either_accounts)
    _fail(either_accounts, 6)

    either_accounts.clock.advance(3601)

    assert _wait_s(either_accounts, password="wrong") == 1


def test_a_clock_that_is_set_back_locks_no_name(accounts):
    join(accounts)
    _fail(accounts, 5)

    accounts.clock.set_back(86_400)

    assert enter(accounts)
    assert _wait_s(accounts, password="wrong") == 1


def test_of_many_who_try_a_name_at_once_one_password_is_looked_at(either_accounts):
    join_by_link(either_accounts)

    def guess(number):
        address = f"203.0.113.{number}"
        return lambda db: sign_in(db, either_accounts.clock, "Anna", "wrong", address=address)

    results = at_once(either_accounts.url, *map(guess, range(6)))

    assert [result.wait_s for result in results] == [1] * 6
    # Of the name, and of one address.
    assert sum(_failures(either_accounts)) == 2


def test_of_many_who_try_from_one_address_at_once_one_password_is_looked_at(either_accounts):
    def guess(number):
        name = f"user {number}"
        return lambda db: sign_in(db, either_accounts.clock, name, "wrong", address=ADDRESS)

    results = at_once(either_accounts.url, *map(guess, range(6)))

    assert [result.wait_s for result in results] == [1] * 6
    assert sum(_failures(either_accounts)) == 2


def test_sign_ins_right_and_wrong_and_a_purge_do_not_lock_each_other_out(either_accounts):
    accounts, clock = either_accounts, either_accounts.clock
    for name in ("Anna", "Bo"):
        join(accounts, name)

    def attempt(name, password, address):
        return lambda db: sign_in(db, clock, name, password, address=address)

    results = []
    for _ in range(4):
        clock.advance(3_700)
        results += at_once(
            accounts.url,
            *(
                attempt(name, password, address)
                for name, address in (("Anna", ADDRESS), ("Bo", ADDRESS), ("Anna", ELSEWHERE))
                for password in (PASSWORD, "wrong")
            ),
            lambda db: purge_old_sessions(db, clock),
        )

    assert {type(result) for result in results} <= {str, SignInRefused, type(None)}


@pytest.mark.parametrize("text", ["\0", "å\ud800", "x" * 100_000, "'; DROP TABLE users; --", "%"])
def test_hostile_names_and_passwords_are_refused_like_any_other(either_accounts, text):
    join(either_accounts)

    assert _wait_s(either_accounts, text, text) == 1
    assert _wait_s(either_accounts, "Anna", text, address=ELSEWHERE) == 1
    assert _wait_s(either_accounts, "Bo", address=text.encode("utf-8", "replace").decode()) == 1


def test_a_password_with_more_behind_it_is_wrong(accounts):
    join(accounts)

    assert _wait_s(accounts, password=PASSWORD + " ") == 1
    assert _wait_s(accounts, "Bo", password=PASSWORD + "x" * 200, address=ELSEWHERE) == 1


def test_what_has_ended_is_purged(either_accounts):
    accounts, clock = either_accounts, either_accounts.clock
    join(accounts)
    enter(accounts)
    _fail(accounts, 2, "Otto")
    clock.advance(IDLE_S - 1)
    token = enter(accounts, address=ELSEWHERE)
    _wait_s(accounts, "Bo", address="203.0.113.5")
    use_form(accounts.db, clock, "of a page")
    clock.advance(2)

    purge_old_sessions(accounts.db, clock)

    assert len(_rows(accounts, UserSession)) == 1
    assert find(accounts, token)
    assert len(_rows(accounts, SignInWait)) == 4
    assert not use_form(accounts.db, clock, "of a page")
    clock.advance(ABSOLUTE_S + 1)
    purge_old_sessions(accounts.db, clock)
    assert _rows(accounts, UserSession) == _rows(accounts, SignInWait) == []
    assert _rows(accounts, UsedForm) == []
