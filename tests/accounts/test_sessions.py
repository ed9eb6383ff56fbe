"""Sessions: signing in, waits after wrong passwords, and what ends a session."""

import pytest

from app.accounts.roles import Role
from app.accounts.sessions import SignInRefused, end_session, find_session, sign_in
from app.accounts.users import accept_invitation, create_user

PASSWORD = "correct horse battery"
ADDRESS = "192.0.2.1"


def _join(ctx, name="Anna", role=Role.SENDER):
    token = create_user(ctx.db, ctx.clock, name, role, actor="cli")
    return accept_invitation(ctx.db, ctx.clock, token, PASSWORD)


def _sign_in(ctx, name="Anna", password=PASSWORD, *, address=ADDRESS):
    return sign_in(ctx.db, ctx.clock, name, password, address=address)


def _wait_s(ctx, *arguments, **more):
    with pytest.raises(SignInRefused) as refused:
        _sign_in(ctx, *arguments, **more)
    return refused.value.wait_s


def test_a_user_signs_in_by_a_name_in_any_case_and_signs_out(either_machine):
    ctx = either_machine.ctx
    user = _join(ctx)

    token = _sign_in(ctx, " ANNA")

    signed_in = find_session(ctx.db, ctx.clock, token)
    assert (signed_in.user_id, signed_in.name, signed_in.role) == (user.id, "Anna", Role.SENDER)
    end_session(ctx.db, token)
    assert find_session(ctx.db, ctx.clock, token) is None


def test_each_wrong_password_makes_the_wait_longer_and_a_minute_is_the_longest(either_machine):
    ctx = either_machine.ctx
    _join(ctx)

    for wait_s in (1, 2, 4, 8, 16, 32, 60, 60):
        assert _wait_s(ctx, password="wrong") == wait_s
        assert _wait_s(ctx) == wait_s  # the right one is not looked at
        either_machine.clock.advance(wait_s)

    assert _sign_in(ctx)
