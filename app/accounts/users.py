"""Users: create, invite, accept an invitation, change the role, reset, remove, list.

An invitation is a token that sets a password once, within INVITATION_DAYS.  A new one replaces the
one before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from app.accounts.factor import remove_factor
from app.accounts.models import HalfSignIn, User, UserSession
from app.accounts.names import clean_name, fold_name
from app.accounts.passwords import hash_password
from app.accounts.roles import Role
from app.accounts.rows import audit_own, change_user
from app.accounts.sessions import end_sessions_of
from app.accounts.tokens import hash_token, make_token
from app.accounts.waits import forget_name, hash_name
from app.clock import Clock
from app.db.audit import AuditEntry, write_audit
from app.db.base import table_of
from app.db.engine import Database, insert_new
from app.errors import Conflict, NotFound

INVITATION_DAYS = 7
# Changes of a user's own number within a day.
_MAX_PHONES, _SET_PHONE = 5, "set own number"
FIRST_USER = "admin"

_USERS = table_of(User)
_AUDIT = table_of(AuditEntry)


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user as lists show them; `invited_until` is set while an invitation is not accepted."""

    id: int
    name: str
    role: Role
    created_at: datetime
    has_password: bool
    has_factor: bool
    invited_until: datetime | None

    def describe_state(self, now: datetime, show_time: Callable[[datetime], str]) -> str:
        """Return how far the user has come, such as "has a password"."""
        if self.has_password:
            return "has a password and a second factor" if self.has_factor else "has a password"
        if self.invited_until and self.invited_until > now:
            return f"invited until {show_time(self.invited_until)}"
        return "the link has ended"


def create_user(db: Database, clock: Clock, name: str, role: Role, *, actor: str) -> str:
    """Create a user without a password.  Returns the token of an invitation.

    Raises BadInput for an unusable name, Conflict for one that is taken.
    """
    name, now, token = clean_name(name), clock.now(), make_token()
    values = {"name": name, "name_key": fold_name(name), "role": role, "created_at": now}
    with db.write() as tx:
        if not insert_new(tx, User, **values, **_invite(token, now)):
            raise Conflict(
                f"There is a user named {name} already: choose another name, or make a new link "
                "with `flask users invite`"
            )
        write_audit(tx, now, actor, "create user", name, role=role.value)
    return token


def invite_user(db: Database, clock: Clock, name: str, *, actor: str) -> str:
    """Replace the invitation of a user who has not accepted it.  Returns the new token.

    Raises NotFound, and Conflict if the user has a password.
    """
    now, token = clock.now(), make_token()
    with db.write() as tx:
        user = _lock_named(tx, name)
        if user.password_hash is not None:
            raise Conflict(
                f"{user.name} has a password: if they forgot it, make a link with "
                "`flask users reset`, which ends their sessions"
            )
        change_user(tx, user.id, **_invite(token, now))
        write_audit(tx, now, actor, "invite user", user.name)
    return token


def invite_first_user(db: Database, clock: Clock, *, actor: str) -> str | None:
    """Create the first user, or invite them again.  Returns the token.

    Returns None if there are others, or if the first one has a password.
    """
    users = list_users(db)
    if not users:
        return create_user(db, clock, FIRST_USER, Role.ADMIN, actor=actor)
    only = users[0]
    if len(users) > 1 or only.name != FIRST_USER or only.has_password:
        return None
    return invite_user(db, clock, FIRST_USER, actor=actor)


def change_role(db: Database, clock: Clock, name: str, role: Role, *, actor: str) -> bool:
    """Give a user another role and end their sessions.

    Returns False if they have this role already: nothing is done then.  Raises NotFound, and
    Conflict if no other administrator with a password would be left.
    """
    now = clock.now()
    with db.write() as tx:
        user = _lock_named(tx, name) if role is Role.ADMIN else _lock_replaceable(tx, name)
        if user.role is role:
            return False
        change_user(tx, user.id, role=role)
        end_sessions_of(tx, user.id)
        facts = {"before": user.role.value, "role": role.value}
        write_audit(tx, now, actor, "change role", user.name, **facts)
    return True


def reset_user(db: Database, clock: Clock, name: str, *, actor: str) -> str:
    """Void a user's password, remove the second factor, and end the sessions.

    Returns the token of an invitation.  Raises NotFound.
    """
    now, token = clock.now(), make_token()
    with db.write() as tx:
        user = _lock_named(tx, name)
        change_user(tx, user.id, password_hash=None, **_invite(token, now))
        remove_factor(tx, user.id)
        end_sessions_of(tx, user.id)
        write_audit(tx, now, actor, "reset user", user.name)
    return token


def remove_user(db: Database, clock: Clock, name: str, *, actor: str) -> None:
    """Remove a user for good and end the sessions; what has the name as its author keeps it.

    Raises NotFound, and Conflict if no other administrator with a password would be left.
    """
    with db.write() as tx:
        user = _lock_replaceable(tx, name)
        remove_factor(tx, user.id)
        end_sessions_of(tx, user.id)
        tx.execute(delete(_USERS).where(_USERS.c.id == user.id))
        write_audit(tx, clock.now(), actor, "remove user", user.name, role=user.role.value)


def make_link(page_url: str, token: str) -> str:
    """Return the link of an invitation."""
    return f"{page_url}/invite/{token}"


def list_users(db: Database) -> list[UserRow]:
    """List all users by name."""
    with db.read() as tx:
        return [_make_row(user) for user in tx.execute(select(_USERS).order_by(_USERS.c.name_key))]


def find_invitation(db: Database, clock: Clock, token: str) -> UserRow:
    """Return the invited user.  Raises NotFound for an invitation that is no longer valid."""
    with db.read() as tx:
        return _make_row(_find_invited(tx, token, clock.now()))


def accept_invitation(db: Database, clock: Clock, token: str, password: str) -> UserRow:
    """Set the password of an invited user, once.  Returns the user.

    Raises NotFound for an invitation that is no longer valid, BadInput for an unusable password.
    """
    find_invitation(db, clock, token)
    hashed = hash_password(password)
    with db.write() as tx:
        now = clock.now()
        user = _find_invited(tx, token, now, lock=True)
        change_user(tx, user.id, password_hash=hashed, invitation_hash=None, invited_until=None)
        end_sessions_of(tx, user.id)
        forget_name(tx, hash_name(user.name_key))
        audit_own(tx, user, "accept invitation", now)
        return _make_row(tx.execute(select(_USERS).where(_USERS.c.id == user.id)).one())


def end_all_access(tx: Connection) -> None:
    """End all sessions and invitations: a backup brings back some that had ended."""
    for table in (UserSession, HalfSignIn):
        tx.execute(delete(table_of(table)))
    tx.execute(update(_USERS).values(invitation_hash=None, invited_until=None))


def find_phone(db: Database, user_id: int) -> str | None:
    """Return the user's own number, if they have given it."""
    with db.read() as tx:
        phone: str | None = tx.execute(
            select(_USERS.c.phone).where(_USERS.c.id == user_id)
        ).scalar()
    return phone


def set_phone(db: Database, clock: Clock, user_id: int, phone: str, *, actor: str) -> None:
    """Keep a number as the user's own.  A change is audited without the number.

    Raises Conflict after some changes within a day: users whose role may not send could otherwise
    text anybody by tests to "their" number.
    """
    ours, now, subject = update(_USERS).where(_USERS.c.id == user_id), clock.now(), str(user_id)
    changes = select(func.count()).where(
        _AUDIT.c.subject == subject,
        _AUDIT.c.action == _SET_PHONE,
        _AUDIT.c.at > now - timedelta(days=1),
    )
    with db.write() as tx:
        changed = tx.execute(ours.where(_USERS.c.phone.is_distinct_from(phone)).values(phone=phone))
        if not changed.rowcount:
            return
        if tx.execute(changes).scalar_one() >= _MAX_PHONES:
            raise Conflict(
                f"You have changed your own number {_MAX_PHONES} times within a day: "
                "use the last one, or wait until tomorrow."
            )
        write_audit(tx, now, actor, _SET_PHONE, subject)


def forget_phone(tx: Connection, phone: str) -> None:
    """Remove a number from the users whose own it is."""
    tx.execute(update(_USERS).where(_USERS.c.phone == phone).values(phone=None))


def _invite(token: str, now: datetime) -> dict[str, Any]:
    until = now + timedelta(days=INVITATION_DAYS)
    return {"invitation_hash": hash_token(token), "invited_until": until}


def _lock_named(tx: Connection, name: str) -> Row[Any]:
    query = select(_USERS).where(_USERS.c.name_key == fold_name(name))
    user = tx.execute(query.with_for_update()).first()
    if user is None:
        raise NotFound("There is no user with this name: `flask users list` shows all")
    return user


def _lock_replaceable(tx: Connection, name: str) -> Row[Any]:
    """Lock a user who is to be an administrator no more.

    Raises NotFound, and Conflict if no other administrator with a password would be left.
    """
    # All are locked, so that two of them cannot do this to each other at the same moment.
    is_admin = _USERS.c.role == Role.ADMIN
    admins = tx.execute(
        select(_USERS).where(is_admin).order_by(_USERS.c.id).with_for_update()
    ).all()
    user = _lock_named(tx, name)
    others = [admin for admin in admins if admin.id != user.id and admin.password_hash]
    if user.role is Role.ADMIN and not others:
        raise Conflict(
            f"{user.name} is the last administrator with a password: give another user the "
            "role admin first"
        )
    return user


def _find_invited(tx: Connection, token: str, now: datetime, *, lock: bool = False) -> Row[Any]:
    query = select(_USERS).where(
        _USERS.c.invitation_hash == hash_token(token), _USERS.c.invited_until > now
    )
    user = tx.execute(query.with_for_update() if lock else query).first()
    if user is None:
        raise NotFound(
            f"This link was used, replaced, or is older than {INVITATION_DAYS} days: ask an "
            "administrator for a new one"
        )
    return user


def _make_row(user: Row[Any]) -> UserRow:
    return UserRow(
        id=user.id,
        name=user.name,
        role=user.role,
        created_at=user.created_at,
        has_password=user.password_hash is not None,
        has_factor=user.factor_step is not None,
        invited_until=user.invited_until,
    )
