"""Users: invited by a link that works once, reset, given another role, and audited."""

import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.accounts.models import User
from app.accounts.names import fold_name
from app.accounts.roles import ROLE_SENTENCES, Role
from app.accounts.sessions import SignInRefused
from app.accounts.users import (
    accept_invitation,
    change_role,
    create_user,
    end_all_access,
    find_invitation,
    invite_first_user,
    invite_user,
    list_users,
    remove_user,
    reset_user,
)
from app.errors import BadInput, Conflict, NotFound
from tests.accounts.people import (
    PASSWORD,
    at_once,
    enter,
    find,
    invite,
    join,
    join_by_link,
    read_audit,
    read_database,
)

OPS = "cli:ops"
OTHER_PASSWORD = "a quite different one"


def accept(accounts, token, password=PASSWORD):
    return accept_invitation(accounts.db, accounts.clock, token, password)


def is_valid(accounts, token):
    try:
        find_invitation(accounts.db, accounts.clock, token)
    except NotFound:
        return False
    return True


def test_to_try_a_password_takes_32_megabytes_and_all_the_work(accounts, full_work):
    user = join_by_link(accounts)

    with accounts.db.read() as tx:
        query = select(User.password_hash).where(User.name_key == fold_name(user.name))
        method, salt, stored = tx.execute(query).scalar_one().split("$")
    name, n, r, p = method.split(":")
    work = {"n": int(n), "r": int(r), "p": int(p), "maxmem": 2**26}
    hashed = hashlib.scrypt(PASSWORD.encode(), salt=salt.encode(), **work)
    assert (name, 128 * int(n) * int(r)) == ("scrypt", 32 * 2**20)
    assert hashed.hex() == stored


def test_a_link_sets_a_password_once(either_accounts):
    token = invite(either_accounts, " Anna  Norling ", Role.AUTHOR)
    invited = find_invitation(either_accounts.db, either_accounts.clock, token)

    user = accept(either_accounts, token)

    assert (invited.name, invited.role, invited.has_password) == (
        "Anna Norling",
        Role.AUTHOR,
        False,
    )
    assert (user.id, user.name, user.has_password) == (invited.id, "Anna Norling", True)
    assert find(either_accounts, enter(either_accounts, "anna norling")).role is Role.AUTHOR
    with pytest.raises(NotFound, match="ask an administrator for a new one"):
        accept(either_accounts, token, OTHER_PASSWORD)
    assert not is_valid(either_accounts, token)


def test_a_link_ends_after_a_week_and_an_unknown_one_is_none(accounts):
    token = invite(accounts)
    accounts.clock.advance(timedelta(days=7).total_seconds() - 1)
    valid = is_valid(accounts, token)

    accounts.clock.advance(1)

    assert valid
    assert not is_valid(accounts, token)
    for other in ("", token[:-1], "å\ud800\0", token * 1000):
        assert not is_valid(accounts, other)
    with pytest.raises(NotFound):
        accept(accounts, token)


def test_a_new_link_replaces_the_one_before(accounts):
    first = invite(accounts)

    second = invite_user(accounts.db, accounts.clock, "ANNA", actor=OPS)

    assert (is_valid(accounts, first), is_valid(accounts, second)) == (False, True)
    accept(accounts, second)
    with pytest.raises(Conflict, match="flask users reset"):
        invite_user(accounts.db, accounts.clock, "Anna", actor=OPS)


def test_of_two_who_use_a_link_at_once_one_gets_in(either_accounts):
    token = invite(either_accounts)
    url = either_accounts.url

    def take(password):
        return lambda db: (accept_invitation(db, either_accounts.clock, token, password), password)

    results = at_once(url, take(PASSWORD), take(OTHER_PASSWORD))

    (won,) = (result for result in results if not isinstance(result, Exception))
    (lost,) = (result for result in results if isinstance(result, Exception))
    assert isinstance(lost, NotFound)
    assert find(either_accounts, enter(either_accounts, password=won[1])).user_id == won[0].id


@pytest.mark.parametrize("password", ["", "eleven char", "x" * 201])
def test_a_password_is_refused_for_its_length_alone_and_the_link_stays(accounts, password):
    token = invite(accounts)

    with pytest.raises(BadInput, match="A password has 12 to 200 characters, of any kind") as e:
        accept(accounts, token, password)

    assert list(e.value.facts["fields"]) == ["password"]
    assert is_valid(accounts, token)


@pytest.mark.parametrize(
    "password", ["aaaaaaaaaaaa", "密码" * 100, " two  blanks ", "zero\0and more", "🙂" * 12]
)
def test_a_password_may_have_any_characters(accounts, password):
    accept(accounts, invite(accounts), password)

    assert enter(accounts, password=password)


def test_a_password_is_the_same_however_a_keyboard_composes_it(accounts):
    accept(accounts, invite(accounts, "Åsa"), "smörgåsbord 1")

    assert enter(accounts, "A\u030asa", "smo\u0308rga\u030asbord 1")


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "An\0na", "An\u202ena", "An\ud800na"])
def test_a_name_that_no_page_could_show_is_refused(accounts, name):
    with pytest.raises(BadInput) as e:
        create_user(accounts.db, accounts.clock, name, Role.VIEWER, actor=OPS)

    assert list(e.value.facts["fields"]) == ["name"]
    assert list_users(accounts.db) == []


@pytest.mark.parametrize(
    ("name", "same"),
    [("Anna", " aNNA "), ("Åsa", "a\u030aSA"), ("STRASSE", "straße"), ("Anna N", "anna   n")],
)
def test_a_name_is_taken_in_any_spelling(accounts, name, same):
    invite(accounts, name)

    with pytest.raises(Conflict, match="choose another name"):
        invite(accounts, same)

    assert [user.name for user in list_users(accounts.db)] == [name]


@pytest.mark.parametrize("name", ["x" * 60, "ΐ" * 60, "محمد‌رضا", "O'Brien <b>&amp;", "🙂"])
def test_a_name_may_have_any_visible_characters(either_accounts, name):
    user = join(either_accounts, name)

    assert (user.name, find(either_accounts, enter(either_accounts, name)).name) == (name, name)


def test_of_two_who_make_a_user_at_once_one_does(either_accounts):
    url = either_accounts.url

    def create(name):
        return lambda db: create_user(db, either_accounts.clock, name, Role.ADMIN, actor=OPS)

    results = at_once(url, create("Anna"), create("ANNA"))

    assert sorted(type(result).__name__ for result in results) == ["Conflict", "str"]
    assert len(list_users(either_accounts.db)) == 1


def test_a_reset_voids_the_password_and_ends_the_sessions(either_accounts):
    join(either_accounts)
    join(either_accounts, "Bo")
    session, of_another = enter(either_accounts), enter(either_accounts, "Bo")

    token = reset_user(either_accounts.db, either_accounts.clock, "anna", actor=OPS)

    assert (find(either_accounts, session), find(either_accounts, of_another).name) == (None, "Bo")
    with pytest.raises(SignInRefused) as refused:
        enter(either_accounts)
    either_accounts.clock.advance(refused.value.wait_s)
    accept(either_accounts, token, OTHER_PASSWORD)
    assert enter(either_accounts, password=OTHER_PASSWORD)


def test_a_new_password_ends_the_waits_of_the_name(accounts):
    join(accounts)
    token = reset_user(accounts.db, accounts.clock, "Anna", actor=OPS)
    with pytest.raises(SignInRefused):
        enter(accounts)

    accept(accounts, token)

    assert enter(accounts, address="198.51.100.7")


def test_another_role_ends_the_sessions_and_the_same_role_does_not(either_accounts):
    join(either_accounts)
    session = enter(either_accounts)

    same = change_role(either_accounts.db, either_accounts.clock, "Anna", Role.SENDER, actor=OPS)
    kept = find(either_accounts, session)
    other = change_role(either_accounts.db, either_accounts.clock, "anna", Role.VIEWER, actor=OPS)

    assert (same, other) == (False, True)
    assert (kept.role, find(either_accounts, session)) == (Role.SENDER, None)
    assert find(either_accounts, enter(either_accounts)).role is Role.VIEWER


def test_a_session_that_begins_during_a_change_of_the_role_has_the_new_role(either_accounts):
    join_by_link(either_accounts)
    url = either_accounts.url

    for role in (Role.AUTHOR, Role.VIEWER, Role.OPERATOR):
        before = enter(either_accounts)
        changed, token = at_once(
            url,
            lambda db, role=role: change_role(db, either_accounts.clock, "Anna", role, actor=OPS),
            lambda _: enter(either_accounts, address="198.51.100.7"),
        )

        signed_in = find(either_accounts, token)
        assert changed is True
        assert find(either_accounts, before) is None
        assert signed_in is None or signed_in.role is role


def test_no_session_of_an_old_password_outlives_a_reset(either_accounts):
    token = invite(either_accounts)
    url = either_accounts.url

    for _ in range(3):
        accept(either_accounts, token)
        token, session = at_once(
            url,
            lambda db: reset_user(db, either_accounts.clock, "Anna", actor=OPS),
            lambda _: enter(either_accounts),
        )

        assert isinstance(session, SignInRefused) or find(either_accounts, session) is None
        either_accounts.clock.advance(120)


def remove(accounts, name, *, db=None):
    return remove_user(db or accounts.db, accounts.clock, name, actor=OPS)


def test_a_removed_user_is_signed_out_and_their_name_is_free(either_accounts):
    join(either_accounts, "Bo", Role.ADMIN)
    user = join(either_accounts)
    session = enter(either_accounts)

    remove(either_accounts, "anna")

    assert find(either_accounts, session) is None
    assert [kept.name for kept in list_users(either_accounts.db)] == ["Bo"]
    with pytest.raises(SignInRefused):
        enter(either_accounts)
    assert join(either_accounts).id > user.id


def test_the_last_administrator_stays(either_accounts):
    join(either_accounts, "Anna", Role.ADMIN)
    invite(either_accounts, "Bo", Role.ADMIN)

    with pytest.raises(Conflict, match="last administrator"):
        remove(either_accounts, "Anna")
    remove(either_accounts, "Bo")

    assert [kept.name for kept in list_users(either_accounts.db)] == ["Anna"]


def test_of_two_administrators_who_remove_each_other_at_once_one_stays(either_accounts):
    for name in ("Anna", "Bo"):
        join(either_accounts, name, Role.ADMIN)

    results = at_once(
        either_accounts.url,
        lambda db: remove(either_accounts, "Anna", db=db),
        lambda db: remove(either_accounts, "Bo", db=db),
    )

    assert sorted(type(result) for result in results if result) == [Conflict]
    assert len(list_users(either_accounts.db)) == 1


def test_the_last_administrator_keeps_the_role(either_accounts):
    for name in ("Anna", "Bo"):
        join(either_accounts, name, Role.ADMIN)

    results = at_once(
        either_accounts.url,
        lambda db: change_role(db, either_accounts.clock, "Anna", Role.SENDER, actor="people:Bo"),
        lambda db: change_role(db, either_accounts.clock, "Bo", Role.SENDER, actor="people:Anna"),
    )

    refused = [result for result in results if isinstance(result, Conflict)]
    assert ["last administrator" in str(error) for error in refused] == [True]
    kept = sorted(user.role for user in list_users(either_accounts.db))
    assert kept == [Role.ADMIN, Role.SENDER]


def test_what_is_done_to_users_is_in_the_audit_log(accounts):
    token = invite(accounts)
    token = invite_user(accounts.db, accounts.clock, "ANNA", actor=OPS)
    accept(accounts, token)
    change_role(accounts.db, accounts.clock, "anna", Role.ADMIN, actor="people:Bo")
    reset_user(accounts.db, accounts.clock, "anna", actor=OPS)
    join(accounts, "Bo", Role.ADMIN)
    remove(accounts, "anna")

    assert read_audit(accounts) == [
        (OPS, "create user", "Anna"),
        (OPS, "invite user", "Anna"),
        ("people:Anna", "accept invitation", "Anna"),
        ("people:Bo", "change role", "Anna"),
        (OPS, "reset user", "Anna"),
        ("cli:ops", "create user", "Bo"),
        (OPS, "remove user", "Anna"),
    ]


def test_no_column_has_a_token_a_password_or_an_address(accounts):
    token = invite(accounts)
    with pytest.raises(SignInRefused):
        enter(accounts, "a password in the field for the name", "wrong")
    accounts.clock.advance(1)
    accept(accounts, token)
    session = enter(accounts)

    stored = read_database(accounts)

    assert "Anna" in stored
    for secret in (token, session, PASSWORD, "a password in the field", "192.0.2.1"):
        assert secret not in stored


def test_the_first_user_is_invited_until_they_have_a_password(accounts):
    first = invite_first_user(accounts.db, accounts.clock, actor="cli")
    second = invite_first_user(accounts.db, accounts.clock, actor="cli")

    assert (is_valid(accounts, first), is_valid(accounts, second)) == (False, True)
    assert accept(accounts, second).role is Role.ADMIN
    assert invite_first_user(accounts.db, accounts.clock, actor="cli") is None
    assert [user.name for user in list_users(accounts.db)] == ["admin"]


def test_no_first_user_is_made_beside_others(accounts):
    token = invite(accounts)

    assert invite_first_user(accounts.db, accounts.clock, actor="cli") is None
    assert is_valid(accounts, token)


def test_the_end_of_all_access_leaves_the_passwords(accounts):
    join(accounts)
    session, token = enter(accounts), invite(accounts, "Bo")

    with accounts.db.write() as tx:
        end_all_access(tx)

    assert (find(accounts, session), is_valid(accounts, token)) == (None, False)
    assert enter(accounts)


def test_each_role_includes_those_before_and_has_a_sentence():
    roles = list(Role)

    assert [[role.includes(other) for other in roles] for role in roles] == [
        [number <= rank for number in range(len(roles))] for rank in range(len(roles))
    ]
    assert list(ROLE_SENTENCES) == roles


@pytest.mark.parametrize("act", [invite_user, reset_user])
def test_a_user_who_is_not_there_is_named_as_that(accounts, act):
    with pytest.raises(NotFound, match="flask users list"):
        act(accounts.db, accounts.clock, "Anna", actor=OPS)
    with pytest.raises(NotFound):
        change_role(accounts.db, accounts.clock, "Anna", Role.ADMIN, actor=OPS)
