"""Changes of users to their own account, by their password: the password, the recovery codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from app.accounts.factor import make_recovery_codes
from app.accounts.models import User
from app.accounts.passwords import hash_password, is_right_password
from app.accounts.rows import audit_own, change_user, lock_user
from app.accounts.sessions import end_sessions_of, start_session
from app.accounts.waits import Subjects, TryRefused, begin_try, forget_name, take_back
from app.clock import Clock
from app.db.base import table_of
from app.db.engine import Database
from app.errors import Conflict

_USERS = table_of(User)


class PasswordRefused(TryRefused):
    """The present password is wrong, or it is too early for another try."""

    reason = "That is not your present password."


@dataclass(frozen=True, slots=True)
class TypedPassword:
    """The present password as it was typed, and the address that it came from."""

    password: str = field(repr=False)
    address: str


def change_password(
    db: Database, clock: Clock, user_id: int, typed: TypedPassword, new: str
) -> str:
    """Change a user's password by the present one, and end all sessions.

    Returns the token of a new one.  Raises BadInput for an unusable new password, PasswordRefused
    for a wrong present one.
    """
    hashed = hash_password(new)
    with _begin_change(db, clock, user_id, typed) as (tx, user):
        now = clock.now()
        change_user(tx, user_id, password_hash=hashed)
        end_sessions_of(tx, user_id)
        audit_own(tx, user, "change password", now)
        return start_session(tx, user_id, now=now)


def renew_recovery_codes(
    db: Database, clock: Clock, user_id: int, typed: TypedPassword
) -> list[str]:
    """Void a user's recovery codes and return new ones, by the present password.

    Raises PasswordRefused for a wrong password, Conflict if there is no second factor.
    """
    with _begin_change(db, clock, user_id, typed) as (tx, user):
        if user.factor_step is None:
            raise Conflict("You have no second factor: nothing was changed")
        audit_own(tx, user, "renew recovery codes", clock.now())
        return make_recovery_codes(tx, user_id)


@contextmanager
def _begin_change(
    db: Database, clock: Clock, user_id: int, typed: TypedPassword
) -> Iterator[tuple[Connection, Row[Any]]]:
    """Begin the transaction of a change that the present password allows, with the locked user.

    Raises PasswordRefused.
    """
    with db.write() as tx:
        user = tx.execute(select(_USERS).where(_USERS.c.id == user_id)).one()
        attempt = begin_try(tx, Subjects.of(user.name_key, typed.address), now=clock.now())
    if not attempt.is_allowed or not is_right_password(typed.password, user.password_hash):
        raise PasswordRefused(attempt.wait_s)
    with db.write() as tx:
        locked = lock_user(tx, user_id)
        if locked.password_hash != user.password_hash:
            raise PasswordRefused(attempt.wait_s)
        take_back(tx, attempt)
        forget_name(tx, attempt.subjects.name)
        yield tx, locked
