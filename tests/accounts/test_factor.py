"""The second factor: set-up by a code, sign-in in two steps, recovery codes, turning it off."""

import pytest
from pyotp import TOTP
from sqlalchemy import select

from app.accounts.factor import (
    RECOVERY_CODES,
    CodeRefused,
    TypedCode,
    begin_setup,
    confirm_setup,
    count_recovery_codes,
    turn_off,
)
from app.accounts.models import HalfSignIn, User
from app.accounts.own import (
    PasswordRefused,
    TypedPassword,
    change_password,
    renew_recovery_codes,
)
from app.accounts.roles import Role
from app.accounts.sessions import (
    HALF_S,
    CodeAwaited,
    SignInRefused,
    SignInTooLate,
    end_all_sessions,
    finish_sign_in,
    is_code_awaited,
    purge_old_sessions,
)
from app.accounts.users import accept_invitation, change_role, list_users, reset_user
from app.db.base import table_of
from app.errors import BadInput, Conflict
from tests.accounts.people import (
    ADDRESS,
    PASSWORD,
    at_once,
    enter,
    find,
    join,
    read_audit,
    read_database,
)

SECRET_KEY = "a secret of this installation"
ELSEWHERE = "198.51.100.7"
STEP_S = 30


class Phone:
    """A user's app for codes, and the recovery codes on paper."""

    def __init__(self, accounts, user):
        self.accounts, self.user = accounts, user
        self.secret = begin_setup(accounts.db, SECRET_KEY, user.id)
        self.recovery = confirm_setup(accounts.db, accounts.clock, SECRET_KEY, user.id, self.code())

    def code(self, *, late_s=0):
        return TOTP(self.secret).at(self.accounts.now().timestamp() - late_s)

    def next_code(self):
        """The code of a step that no code was used in."""
        self.accounts.clock.advance(2 * STEP_S)
        return self.code()

    def wrong_code(self):
        right = {self.code(late_s=late_s) for late_s in (-STEP_S, 0, STEP_S)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in right)


@pytest.fixture
def anna(accounts):
    return Phone(accounts, join(accounts))


@pytest.fixture
def either_anna(either_accounts):
    return Phone(either_accounts, join(either_accounts))


def _typed(code, *, address=ADDRESS, secret_key=SECRET_KEY):
    return TypedCode(code, address, secret_key)


def _finish(accounts, half, code, **more):
    return finish_sign_in(accounts.db, accounts.clock, half.token, _typed(code, **more))


def _wait_s(accounts, half, code, **more):
    with pytest.raises(CodeRefused) as refused:
        _finish(accounts, half, code, **more)
    return refused.value.wait_s


def test_a_session_begins_after_password_and_code(either_anna):
    accounts = either_anna.accounts

    half = enter(accounts)
    begun = is_code_awaited(accounts.db, accounts.clock, half.token), find(accounts, half.token)
    token = _finish(accounts, half, either_anna.next_code())

    assert isinstance(half, CodeAwaited)
    assert begun == (True, None)
    signed_in = find(accounts, token)
    assert (signed_in.name, signed_in.has_factor) == ("Anna", True)
    assert not is_code_awaited(accounts.db, accounts.clock, half.token)
    with pytest.raises(SignInTooLate):
        _finish(accounts, half, either_anna.next_code())


def test_without_a_second_factor_the_password_is_enough(accounts):
    user = join(accounts)
    begin_setup(accounts.db, SECRET_KEY, user.id)

    token = enter(accounts)

    assert find(accounts, token).has_factor is False


@pytest.mark.parametrize("late_s", [-STEP_S, 0, STEP_S])
def test_the_clock_of_a_phone_may_be_half_a_minute_off(anna, late_s):
    anna.accounts.clock.advance(10 * STEP_S)

    assert _finish(anna.accounts, enter(anna.accounts), anna.code(late_s=late_s))


@pytest.mark.parametrize("late_s", [-2 * STEP_S, 2 * STEP_S])
def test_a_clock_that_is_a_minute_off_does_not_fit(anna, late_s):
    anna.accounts.clock.advance(10 * STEP_S)

    assert _wait_s(anna.accounts, enter(anna.accounts), anna.code(late_s=late_s)) == 1


def test_a_code_counts_once(either_anna):
    accounts, code = either_anna.accounts, either_anna.next_code()
    assert _finish(accounts, enter(accounts), code)

    assert _wait_s(accounts, enter(accounts), code) == 1


def test_a_code_from_before_the_last_one_does_not_count(anna):
    anna.accounts.clock.advance(10 * STEP_S)
    before = anna.code(late_s=STEP_S)
    _finish(anna.accounts, enter(anna.accounts), anna.code())

    assert _wait_s(anna.accounts, enter(anna.accounts), before) == 1


def test_the_code_that_confirmed_the_set_up_does_not_sign_in(anna):
    assert _wait_s(anna.accounts, enter(anna.accounts), anna.code()) == 1


def test_of_two_who_use_a_code_at_once_one_gets_in(either_anna):
    accounts, clock = either_anna.accounts, either_anna.accounts.clock

    for _ in range(3):
        code, halves = either_anna.next_code(), [enter(accounts), enter(accounts)]

        def use(half, address, code=code):
            return lambda db: finish_sign_in(db, clock, half.token, _typed(code, address=address))

        results = at_once(accounts.url, use(halves[0], ADDRESS), use(halves[1], ELSEWHERE))

        (token,) = (result for result in results if isinstance(result, str))
        (refused,) = (result for result in results if isinstance(result, Exception))
        assert find(accounts, token).name == "Anna"
        assert isinstance(refused, CodeRefused)


def test_of_two_who_use_a_recovery_code_at_once_one_gets_in(either_anna):
    accounts, clock = either_anna.accounts, either_anna.accounts.clock
    halves, code = [enter(accounts), enter(accounts)], either_anna.recovery[0]

    def use(half, address):
        return lambda db: finish_sign_in(db, clock, half.token, _typed(code, address=address))

    results = at_once(accounts.url, use(halves[0], ADDRESS), use(halves[1], ELSEWHERE))

    assert sorted(type(result).__name__ for result in results) == ["CodeRefused", "str"]
    assert count_recovery_codes(accounts.db, either_anna.user.id) == 9


def test_half_a_sign_in_begins_one_session(either_anna):
    accounts, clock = either_anna.accounts, either_anna.accounts.clock
    half = enter(accounts)

    def use(code):
        return lambda db: finish_sign_in(db, clock, half.token, _typed(code))

    results = at_once(accounts.url, *map(use, either_anna.recovery[:2]))

    assert sorted(type(result).__name__ for result in results) == ["SignInTooLate", "str"]


def test_wrong_codes_and_passwords_grow_one_wait_until_both_are_right(either_anna):
    accounts, clock = either_anna.accounts, either_anna.accounts.clock
    with pytest.raises(SignInRefused):
        enter(accounts, password="wrong")
    clock.advance(1)

    for wait_s in (2, 4, 8, 16, 32, 60, 60):
        half = enter(accounts)  # the password is right: the count stays
        assert _wait_s(accounts, half, either_anna.wrong_code()) == wait_s
        assert _wait_s(accounts, half, either_anna.code(), address=ELSEWHERE) == wait_s
        clock.advance(wait_s)
    assert _finish(accounts, enter(accounts), either_anna.next_code())

    with pytest.raises(SignInRefused) as refused:
        enter(accounts, password="wrong", address=ELSEWHERE)
    assert refused.value.wait_s == 1


def test_a_code_during_a_wait_is_not_used_up(anna):
    half, code = enter(anna.accounts), anna.next_code()
    wait_s = _wait_s(anna.accounts, half, anna.wrong_code())

    _wait_s(anna.accounts, half, code)
    anna.accounts.clock.advance(wait_s)

    assert _finish(anna.accounts, half, code)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "١٢٣٤٥٦", "å\ud800\0", "-" * 1000])
def test_what_is_no_code_is_refused(anna, code):
    assert _wait_s(anna.accounts, enter(anna.accounts), code) == 1


def test_a_code_may_be_typed_with_a_blank(anna):
    code = anna.next_code()

    assert _finish(anna.accounts, enter(anna.accounts), f" {code[:3]} {code[3:]} ")


def test_each_recovery_code_counts_once_however_it_is_typed(either_anna):
    accounts = either_anna.accounts
    assert len(set(either_anna.recovery)) == 10

    for code in either_anna.recovery:
        typed = code.upper().replace("-", " ").replace("0", "O").replace("1", "l")
        assert _finish(accounts, enter(accounts), typed)

    assert count_recovery_codes(accounts.db, either_anna.user.id) == 0
    assert _wait_s(accounts, enter(accounts), either_anna.recovery[0]) == 1


def test_a_recovery_code_is_its_users_alone(anna):
    other = Phone(anna.accounts, join(anna.accounts, "Bo"))

    assert _wait_s(anna.accounts, enter(anna.accounts), other.recovery[0]) == 1
    half = enter(anna.accounts, "Bo", address=ELSEWHERE)
    assert _finish(anna.accounts, half, other.recovery[0], address=ELSEWHERE)


def test_the_second_step_ends_after_ten_minutes(anna):
    accounts, half = anna.accounts, enter(anna.accounts)

    accounts.clock.advance(HALF_S + 1)

    assert not is_code_awaited(accounts.db, accounts.clock, half.token)
    with pytest.raises(SignInTooLate):
        _finish(accounts, half, anna.code())
    purge_old_sessions(accounts.db, accounts.clock)
    with accounts.db.read() as tx:
        assert tx.execute(select(table_of(HalfSignIn))).all() == []


@pytest.mark.parametrize("token", ["", "å\ud800\0", "x" * 43])
def test_a_second_step_without_a_first_is_refused(anna, token):
    with pytest.raises(SignInTooLate):
        _finish(anna.accounts, CodeAwaited(token), anna.next_code())


def _change_role(anna):
    change_role(anna.accounts.db, anna.accounts.clock, "Anna", Role.ADMIN, actor="cli:ops")


def _reset(anna):
    reset_user(anna.accounts.db, anna.accounts.clock, "Anna", actor="cli:ops")


def _sign_out(anna):
    end_all_sessions(anna.accounts.db, anna.user.id)


def _change_password(anna):
    accounts, typed = anna.accounts, TypedPassword(PASSWORD, ADDRESS)
    change_password(accounts.db, accounts.clock, anna.user.id, typed, "another password")


@pytest.mark.parametrize("change", [_change_role, _reset, _sign_out, _change_password])
def test_what_ends_sessions_ends_half_a_sign_in(either_anna, change):
    half = enter(either_anna.accounts)

    change(either_anna)

    with pytest.raises(SignInTooLate):
        _finish(either_anna.accounts, half, either_anna.next_code())


def test_a_reset_removes_the_second_factor(either_anna):
    accounts = either_anna.accounts

    token = reset_user(accounts.db, accounts.clock, "Anna", actor="cli:ops")
    accept_invitation(accounts.db, accounts.clock, token, PASSWORD)

    assert find(accounts, enter(accounts)).has_factor is False
    assert [user.has_factor for user in list_users(accounts.db)] == [False]
    assert count_recovery_codes(accounts.db, either_anna.user.id) == 0


def test_another_role_keeps_the_second_factor(anna):
    _change_role(anna)

    assert isinstance(enter(anna.accounts), CodeAwaited)


@pytest.mark.parametrize("by_recovery", [False, True])
def test_a_code_turns_the_second_factor_off(either_anna, by_recovery):
    accounts, user_id = either_anna.accounts, either_anna.user.id
    code = either_anna.recovery[3] if by_recovery else either_anna.next_code()

    turn_off(accounts.db, accounts.clock, user_id, _typed(code))

    assert find(accounts, enter(accounts)).has_factor is False
    with pytest.raises(Conflict):
        turn_off(accounts.db, accounts.clock, user_id, _typed(code))


def test_a_wrong_code_turns_nothing_off_and_makes_one_wait(either_anna):
    accounts = either_anna.accounts

    for wait_s in (1, 2, 4):
        with pytest.raises(CodeRefused) as refused:
            turn_off(accounts.db, accounts.clock, either_anna.user.id, _typed("no code"))
        assert refused.value.wait_s == wait_s
        accounts.clock.advance(wait_s)

    assert isinstance(enter(accounts), CodeAwaited)


def test_a_set_up_needs_a_code_of_its_own_secret(either_accounts):
    accounts, user = either_accounts, join(either_accounts)
    db, clock = accounts.db, accounts.clock
    with pytest.raises(Conflict, match="No set-up is under way"):
        confirm_setup(db, clock, SECRET_KEY, user.id, "123456")
    old = begin_setup(db, SECRET_KEY, user.id)
    new = begin_setup(db, SECRET_KEY, user.id)

    with pytest.raises(BadInput) as refused:
        confirm_setup(db, clock, SECRET_KEY, user.id, TOTP(old).at(accounts.now()))
    confirm_setup(db, clock, SECRET_KEY, user.id, TOTP(new).at(accounts.now()))

    assert list(refused.value.facts["fields"]) == ["code"]
    assert isinstance(enter(accounts), CodeAwaited)
    with pytest.raises(Conflict, match="turn it off"):
        begin_setup(db, SECRET_KEY, user.id)
    with pytest.raises(Conflict, match="is on already"):
        confirm_setup(db, clock, SECRET_KEY, user.id, "123456")


def test_another_secret_key_voids_codes_and_keeps_recovery_codes(anna):
    other = {"secret_key": "another secret of this installation"}

    assert _wait_s(anna.accounts, enter(anna.accounts), anna.next_code(), **other) == 1
    anna.accounts.clock.advance(1)
    assert _finish(anna.accounts, enter(anna.accounts), anna.recovery[0], **other)


def test_a_clock_that_was_set_ahead_locks_no_user_out(anna):
    anna.accounts.clock.advance(86_400)
    _finish(anna.accounts, enter(anna.accounts), anna.code())

    anna.accounts.clock.set_back(86_000)

    assert _finish(anna.accounts, enter(anna.accounts), anna.code())


def test_the_database_has_neither_secret_nor_codes(anna):
    half = enter(anna.accounts)

    stored = read_database(anna.accounts)
    with anna.accounts.db.read() as tx:
        seed = tx.execute(select(table_of(User).c.factor_seed)).scalar_one()

    assert repr(seed) in stored
    secret = TOTP(anna.secret).byte_secret()
    bare = [code.replace("-", "") for code in anna.recovery]
    for kept in (anna.secret, repr(secret)[2:-1], half.token, *anna.recovery, *bare):
        assert kept not in stored


def test_the_own_password_is_changed_by_the_present_one(either_accounts):
    accounts, user = either_accounts, join(either_accounts)
    old = enter(accounts)

    def change(present, new):
        typed = TypedPassword(present, ADDRESS)
        return change_password(accounts.db, accounts.clock, user.id, typed, new)

    with pytest.raises(BadInput, match="12 to 200 characters"):
        change(PASSWORD, "short")
    with pytest.raises(PasswordRefused) as refused:
        change("wrong wrong wrong", "another password")
    with pytest.raises(PasswordRefused):
        change(PASSWORD, "another password")  # during the wait
    accounts.clock.advance(refused.value.wait_s)
    new = change(PASSWORD, "another password")

    assert find(accounts, old) is None
    assert find(accounts, new).name == "Anna"
    assert find(accounts, enter(accounts, password="another password"))
    with pytest.raises(SignInRefused):
        enter(accounts)


def test_of_two_who_change_a_password_at_once_one_does(either_accounts):
    accounts, user = either_accounts, join(either_accounts)

    def change(new, address):
        typed = TypedPassword(PASSWORD, address)
        return lambda db: change_password(db, accounts.clock, user.id, typed, new)

    results = at_once(
        accounts.url, change("first password", ADDRESS), change("second password", ELSEWHERE)
    )

    tokens = [result for result in results if isinstance(result, str)]
    assert len(tokens) == 1
    assert find(accounts, tokens[0])


def test_new_recovery_codes_void_the_old_ones_by_the_password(either_anna):
    accounts, user_id = either_anna.accounts, either_anna.user.id

    def renew(password):
        typed = TypedPassword(password, ADDRESS)
        return renew_recovery_codes(accounts.db, accounts.clock, user_id, typed)

    with pytest.raises(PasswordRefused) as refused:
        renew("wrong wrong wrong")
    assert count_recovery_codes(accounts.db, user_id) == RECOVERY_CODES
    accounts.clock.advance(refused.value.wait_s)
    codes = renew(PASSWORD)

    assert len(set(codes) - set(either_anna.recovery)) == RECOVERY_CODES
    assert count_recovery_codes(accounts.db, user_id) == RECOVERY_CODES
    wait_s = _wait_s(accounts, enter(accounts), either_anna.recovery[0])
    accounts.clock.advance(wait_s)
    assert find(accounts, _finish(accounts, enter(accounts), codes[0]))


def test_without_a_second_factor_there_are_no_recovery_codes(accounts):
    user = join(accounts)

    with pytest.raises(Conflict, match="no second factor"):
        renew_recovery_codes(accounts.db, accounts.clock, user.id, TypedPassword(PASSWORD, ADDRESS))

    assert count_recovery_codes(accounts.db, user.id) == 0


def test_what_users_do_to_their_account_is_in_the_audit_log(anna):
    accounts = anna.accounts
    typed = TypedPassword(PASSWORD, ADDRESS)
    anna.recovery = renew_recovery_codes(accounts.db, accounts.clock, anna.user.id, typed)
    _finish(accounts, enter(accounts), anna.recovery[0])
    turn_off(accounts.db, accounts.clock, anna.user.id, _typed(anna.next_code()))
    _change_password(anna)

    assert read_audit(accounts)[1:] == [
        ("people:Anna", action, "Anna")
        for action in (
            "set up second factor",
            "renew recovery codes",
            "use recovery code",
            "turn off second factor",
            "change password",
        )
    ]
