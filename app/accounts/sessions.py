"""Sessions: sign in by a password and a code, find the user of a cookie, end sessions.

A right password begins a session, or half a sign-in if the user has a second factor; a code within
HALF_S makes it a session.  Wrong passwords stay counted until both were right.

A session ends IDLE_S after its last use, ABSOLUTE_S after the sign-in, and at once when the user's
password or role changes.
"""

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.accounts.factor import CodeRefused, TypedCode, try_code
from app.accounts.models import HalfSignIn, UsedForm, User, UserSession
from app.accounts.names import fold_name
from app.accounts.passwords import is_right_password
from app.accounts.roles import Role
from app.accounts.tokens import hash_token, make_token
from app.accounts.waits import (
    SignInTry,
    Subjects,
    TryRefused,
    begin_try,
    forget_name,
    has_old_waits,
    hash_name,
    purge_waits,
    read_wait_s,
    take_back,
)
from app.clock import CLOCK_SLACK_S, Clock
from app.db.base import table_of
from app.db.engine import Database
from app.db.old_rows import OldRows
from app.errors import ClarionError

HALF_S = 10 * 60
IDLE_S = 12 * 3600
ABSOLUTE_S = 7 * 24 * 3600
# How far `seen_at` may lag behind.
_SEEN_EVERY = timedelta(minutes=1)

_USERS, _SESSIONS, _HALVES = table_of(User), table_of(UserSession), table_of(HalfSignIn)
_FORMS = table_of(UsedForm)


class SignInRefused(TryRefused):
    """Name and password do not belong together, or it is too early for another try."""

    reason = "That name and password do not belong together."


class SignInTooLate(ClarionError):
    """The password was too long ago for a code, or a new one is needed."""

    status = HTTPStatus.UNAUTHORIZED


@dataclass(frozen=True, slots=True)
class CodeAwaited:
    """A sign-in whose password was right; `token` and a code begin a session."""

    token: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user in a session."""

    user_id: int
    name: str
    role: Role
    has_factor: bool


def sign_in(
    db: Database, clock: Clock, name: str, password: str, *, address: str
) -> str | CodeAwaited:
    """Start a session of a user.  Returns its token, or CodeAwaited if there is a second factor.

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
) -> str | CodeAwaited:
    """Start a session or half a sign-in, unless the password was changed since it was looked at."""
    same = _USERS.c.id == user_id, _USERS.c.password_hash == stored
    with db.write() as tx:
        found = tx.execute(select(_USERS.c.factor_step).where(*same).with_for_update()).first()
        if found is None:
            raise SignInRefused(attempt.wait_s)
        take_back(tx, attempt)
        if found.factor_step is not None:
            return _start_half(tx, user_id, now=clock.now())
        forget_name(tx, attempt.subjects.name)
        return start_session(tx, user_id, now=clock.now())


def _start_half(tx: Connection, user_id: int, *, now: datetime) -> CodeAwaited:
    token = make_token()
    values = {"token_hash": hash_token(token), "user_id": user_id, "created_at": now}
    tx.execute(insert(_HALVES).values(values))
    return CodeAwaited(token)


def is_code_awaited(db: Database, clock: Clock, token: str) -> bool:
    """Return True if a code would make a session of this half."""
    with db.read() as tx:
        return tx.execute(_select_half(token, clock.now())).first() is not None


def finish_sign_in(db: Database, clock: Clock, token: str, typed: TypedCode) -> str:
    """Make a session of a sign-in that awaits a code.  Returns its token.

    Raises CodeRefused for a wrong or used code, SignInTooLate if the password is needed again.
    """
    with db.write() as tx:
        now = clock.now()
        user = tx.execute(_select_half(token, now).with_for_update(of=_USERS)).first()
        if user is None or user.factor_step is None:
            raise SignInTooLate("Sign in again: the code came too late.")
        wait_s = try_code(tx, user, typed, now=now)
        if not wait_s:
            half = delete(_HALVES).where(_HALVES.c.token_hash == hash_token(token))
            if not tx.execute(half).rowcount:  # ended while this waited for the lock
                raise SignInTooLate("Sign in again: your password or role was changed.")
            forget_name(tx, hash_name(user.name_key))
            return start_session(tx, user.id, now=now)
    raise CodeRefused(wait_s)


def _select_half(token: str, now: datetime) -> Select[Any]:
    """Select the user of half a sign-in that has not ended."""
    query = select(_USERS).join(_HALVES, _HALVES.c.user_id == _USERS.c.id)
    return query.where(_HALVES.c.token_hash == hash_token(token), _is_awaited(now))


def start_session(tx: Connection, user_id: int, *, now: datetime) -> str:
    """Start a session of a user who may have one.  Returns its token."""
    token = make_token()
    values = {"user_id": user_id, "token_hash": hash_token(token), "created_at": now}
    tx.execute(insert(_SESSIONS).values(**values, seen_at=now))
    return token


def find_session(db: Database, clock: Clock, token: str) -> SignedIn | None:
    """Return the user of a token, with the role of now; None if there is no such session."""
    now = clock.now()
    columns = (_USERS.c.id, _USERS.c.name, _USERS.c.role, _USERS.c.factor_step)
    query = select(_SESSIONS.c.id, _SESSIONS.c.seen_at, *columns)
    query = query.join(_USERS, _USERS.c.id == _SESSIONS.c.user_id)
    query = query.where(_SESSIONS.c.token_hash == hash_token(token), _is_live(now))
    with db.read() as tx:
        found = tx.execute(query).first()
    if found is None:
        return None
    session_id, seen_at, user_id, name, role, step = found
    if now - seen_at >= _SEEN_EVERY:
        _note_use(db, session_id, now)
    return SignedIn(user_id, name, role, step is not None)


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
    tx.execute(delete(_HALVES).where(_HALVES.c.user_id == user_id))
    tx.execute(delete(_SESSIONS).where(_SESSIONS.c.user_id == user_id))


def purge_old_sessions(db: Database, clock: Clock) -> None:
    """Delete sessions that have ended, waits that no longer count, and forms of ended sessions."""
    now = clock.now()
    no_session_left = _FORMS.c.used_at < now - timedelta(seconds=ABSOLUTE_S)
    OldRows(_FORMS, no_session_left).delete(db)
    ended = select(_SESSIONS.c.id).where(~_is_live(now))
    late = select(_HALVES.c.token_hash).where(~_is_awaited(now))
    with db.read() as tx:
        has_ended = any(tx.execute(query.limit(1)).first() for query in (ended, late))
        has_waits = has_old_waits(tx, now=now)
    if has_ended or has_waits:
        with db.write() as tx:
            free = ended.with_for_update(skip_locked=True)
            tx.execute(delete(_SESSIONS).where(_SESSIONS.c.id.in_(free)))
            free = late.with_for_update(skip_locked=True)
            tx.execute(delete(_HALVES).where(_HALVES.c.token_hash.in_(free)))
            purge_waits(tx, now=now)


def _is_awaited(now: datetime) -> ColumnElement[bool]:
    """Return the condition that the password of half a sign-in was given lately."""
    newest = now + timedelta(seconds=CLOCK_SLACK_S)
    return _HALVES.c.created_at.between(now - timedelta(seconds=HALF_S), newest)


def _is_live(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a session has not ended; one of the future is of a wrong clock."""
    newest = now + timedelta(seconds=CLOCK_SLACK_S)
    return and_(
        _SESSIONS.c.created_at.between(now - timedelta(seconds=ABSOLUTE_S), newest),
        _SESSIONS.c.seen_at.between(now - timedelta(seconds=IDLE_S), newest),
    )
