"""Changes of users to their own account: the password."""

from sqlalchemy import select

from app.accounts.models import User
from app.accounts.passwords import hash_password, is_right_password
from app.accounts.rows import audit_own, change_user, lock_user
from app.accounts.sessions import end_sessions_of, start_session
from app.accounts.waits import Subjects, TryRefused, begin_try, forget_name, take_back
from app.clock import Clock
from app.db.base import table_of
from app.db.engine import Database

_USERS = table_of(User)


class PasswordRefused(TryRefused):
    """The present password is wrong, or it is too early for another try."""

    reason = "That is not your present password."


def change_password(
    db: Database, clock: Clock, user_id: int, present: str, new: str, *, address: str
) -> str:
    """Change a user's password by the present one, and end all sessions.

    Returns the token of a new one.  Raises BadInput for an unusable new password, PasswordRefused
    for a wrong present one.
    """
    hashed = hash_password(new)
    with db.write() as tx:
        user = tx.execute(select(_USERS).where(_USERS.c.id == user_id)).one()
        attempt = begin_try(tx, Subjects.of(user.name_key, address), now=clock.now())
    if not attempt.is_allowed or not is_right_password(present, user.password_hash):
        raise PasswordRefused(attempt.wait_s)
    with db.write() as tx:
        now = clock.now()
        if lock_user(tx, user_id).password_hash != user.password_hash:
            raise PasswordRefused(attempt.wait_s)
        take_back(tx, attempt)
        forget_name(tx, attempt.subjects.name)
        change_user(tx, user_id, password_hash=hashed)
        end_sessions_of(tx, user_id)
        audit_own(tx, user, "change password", now)
        return start_session(tx, user_id, now=now)
