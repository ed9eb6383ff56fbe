"""Sessions: sign in by a password, find the user of a cookie, end sessions.

A session ends IDLE_S after its last use, ABSOLUTE_S after the sign-in, and at once when the user's
password or role changes.
"""

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.accounts.models import User, UserSession
from app.accounts.names import fold_name
from app.accounts.passwords import is_right_password
from app.accounts.roles import Role
from app.accounts.tokens import hash_token, make_token
from app.accounts.waits import (
    SignInTry,
    Subjects,
    begin_try,
    has_old_waits,
    purge_waits,
    read_wait_s,
    take_back,
)
from app.clock import CLOCK_SLACK_S, Clock
from app.db.base import table_of
from app.db.engine import Database
from app.errors import ClarionError

IDLE_S = 12 * 3600
ABSOLUTE_S = 7 * 24 * 3600
# How far `seen_at` may lag behind.
_SEEN_EVERY = timedelta(minutes=1)

_USERS, _SESSIONS = table_of(User), table_of(UserSession)


class SignInRefused(ClarionError):
    """Name and password do not belong together, or it is too early for another try."""

    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, wait_s: int) -> None:
        unit = "second" if wait_s == 1 else "seconds"
        super().__init__(
            f"That name and password do not belong together. You can try again in {wait_s} {unit}.",
            retry_after_s=wait_s,
        )
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user in a session."""

    user_id: int
    name: str
    role: Role
    session_id: int


def sign_in(db: Database, clock: Clock, name: str, password: str, *, address: str) -> str:
    """Start a session of a user.  Returns its token.

    Raises SignInRefused, the same for an unknown name and for a wrong password.
    """
    name_key = fold_name(name)
    subjects = Subjects.of(name_key, address)
    with db.read() as tx:
        wait_s = read_wait_s(tx, subjects, now=clock.now())
    if wait_s:
        raise SignInRefused(wait_s)
    with db.write() as tx:
        attempt = begin_try(tx, subjects, now=clock.now())
        known = select(_USERS.c.id, _USERS.c.password_hash).where(_USERS.c.name_key == name_key)
        user = tx.execute(known).first()
    if not attempt.is_allowed:
        raise SignInRefused(attempt.wait_s)
    is_right = is_right_password(password, user.password_hash if user else None)
    if user is None or not is_right:
        raise SignInRefused(attempt.wait_s)
    return _begin_session(db, clock, user.id, user.password_hash, attempt)


def _begin_session(
    db: Database, clock: Clock, user_id: int, stored: str | None, attempt: SignInTry
) -> str:
    """Start a session, unless the password was changed since it was looked at."""
    same = _USERS.c.id == user_id, _USERS.c.password_hash == stored
    with db.write() as tx:
        if tx.execute(select(_USERS.c.id).where(*same).with_for_update()).first() is None:
            raise SignInRefused(attempt.wait_s)
        take_back(tx, attempt)
        return start_session(tx, user_id, now=clock.now())


def start_session(tx: Connection, user_id: int, *, now: datetime) -> str:
    """Start a session of a user whose password was right.  Returns its token."""
    token = make_token()
    values = {"user_id": user_id, "token_hash": hash_token(token), "created_at": now}
    tx.execute(insert(_SESSIONS).values(**values, seen_at=now))
    return token


def find_session(db: Database, clock: Clock, token: str) -> SignedIn | None:
    """Return the user of a token, with the role of now; None if there is no such session."""
    now = clock.now()
    query = select(_SESSIONS.c.id, _SESSIONS.c.seen_at, _USERS.c.id, _USERS.c.name, _USERS.c.role)
    query = query.join(_USERS, _USERS.c.id == _SESSIONS.c.user_id)
    query = query.where(_SESSIONS.c.token_hash == hash_token(token), _is_live(now))
    with db.read() as tx:
        found = tx.execute(query).first()
    if found is None:
        return None
    session_id, seen_at, user_id, name, role = found
    if now - seen_at >= _SEEN_EVERY:
        _note_use(db, session_id, now)
    return SignedIn(user_id, name, role, session_id)


def _note_use(db: Database, session_id: int, now: datetime) -> None:
    """Note the use of a session.  Pages are shown even if the database takes no writes."""
    used = update(_SESSIONS).where(_SESSIONS.c.id == session_id)
    with contextlib.suppress(SQLAlchemyError), db.write() as tx:
        tx.execute(used.values(seen_at=now))


def end_session(db: Database, token: str) -> None:
    """End the session of a token, if there is one."""
    with db.write() as tx:
        tx.execute(delete(_SESSIONS).where(_SESSIONS.c.token_hash == hash_token(token)))


def end_all_sessions(db: Database, user_id: int) -> None:
    """End all sessions of a user."""
    with db.write() as tx:
        end_sessions_of(tx, user_id)


def end_sessions_of(tx: Connection, user_id: int) -> None:
    """End all sessions of a user, in the transaction that makes it necessary."""
    tx.execute(delete(_SESSIONS).where(_SESSIONS.c.user_id == user_id))


def purge_old_sessions(db: Database, clock: Clock) -> None:
    """Delete sessions that have ended and waits that no longer count."""
    now = clock.now()
    ended = select(_SESSIONS.c.id).where(~_is_live(now))
    with db.read() as tx:
        has_sessions = tx.execute(ended.limit(1)).first() is not None
        has_waits = has_old_waits(tx, now=now)
    if has_sessions or has_waits:
        with db.write() as tx:
            free = ended.with_for_update(skip_locked=True)
            tx.execute(delete(_SESSIONS).where(_SESSIONS.c.id.in_(free)))
            purge_waits(tx, now=now)


def _is_live(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a session has not ended; one of the future is of a wrong clock."""
    newest = now + timedelta(seconds=CLOCK_SLACK_S)
    return and_(
        _SESSIONS.c.created_at.between(now - timedelta(seconds=ABSOLUTE_S), newest),
        _SESSIONS.c.seen_at.between(now - timedelta(seconds=IDLE_S), newest),
    )
