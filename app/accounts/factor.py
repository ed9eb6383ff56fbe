"""The second factor: codes of an app (TOTP, RFC 6238), and recovery codes in their place.

A user's secret is made of SECRET_KEY and the user's seed.  The database has the seed alone, so that
a copy of it makes no code.  Under another SECRET_KEY no app's codes fit; recovery codes still do.
A code counts once: the step of time of the last one is kept, and so are hashes of recovery codes
that were not used.
"""

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyotp import TOTP
from sqlalchemy import Connection, Row, delete, func, insert, select

from app.accounts.models import SEED_BYTES, RecoveryCode
from app.accounts.roles import Role
from app.accounts.rows import audit_own, change_user, lock_user
from app.accounts.tokens import hash_token
from app.accounts.waits import Subjects, TryRefused, begin_try, take_back
from app.clock import Clock
from app.config.accounts import SecondFactor
from app.db.base import table_of
from app.db.engine import Database
from app.errors import Conflict, reject_field

ISSUER = "Clarion"
RECOVERY_CODES = 10
_STEP_S = 30
# Steps by which the clock of a phone may be wrong.
_SLACK_STEPS = 1
_SIX_DIGITS = re.compile(r"[0-9]{6}")
# 80 bits, so that a plain hash of a code cannot be undone; no letter looks like another sign.
_RECOVERY_LETTERS = "abcdefghjkmnpqrstvwxyz0123456789"
_RECOVERY_GROUPS, _GROUP_LETTERS = 4, 4
_LOOK_ALIKE = str.maketrans({"o": "0", "i": "1", "l": "1", "-": None})

_RECOVERY = table_of(RecoveryCode)


class CodeRefused(TryRefused):
    """A code is wrong or was used, or it is too early for another try."""

    reason = "That code does not fit, or was used already."


@dataclass(frozen=True, slots=True)
class TypedCode:
    """A code as it was typed, the address that it came from, and the SECRET_KEY of ours."""

    code: str
    address: str
    secret_key: str = field(repr=False)


def is_required(rule: SecondFactor, role: Role) -> bool:
    """Return True if users of a role need a second factor.

    >>> [is_required(SecondFactor.SENDERS, role) for role in (Role.AUTHOR, Role.SENDER)]
    [False, True]
    """
    return rule is SecondFactor.ALL or (rule is SecondFactor.SENDERS and role.includes(Role.SENDER))


def make_uri(secret: str, name: str) -> str:
    """Return what apps read from a QR code."""
    return TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def begin_setup(db: Database, secret_key: str, user_id: int) -> str:
    """Make a new secret, which counts once it is confirmed by a code.  Returns it in base 32.

    Raises Conflict if the user has a second factor.
    """
    seed = secrets.token_bytes(SEED_BYTES)
    with db.write() as tx:
        if lock_user(tx, user_id).factor_step is not None:
            raise Conflict("You have a second factor already: turn it off to set up another")
        change_user(tx, user_id, factor_seed=seed)
    return _make_secret(secret_key, seed)


def confirm_setup(
    db: Database, clock: Clock, secret_key: str, user_id: int, code: str
) -> list[str]:
    """Turn the second factor on by a code of the new secret.  Returns the recovery codes.

    Raises BadInput for a code that does not fit, Conflict if no set-up is under way.
    """
    with db.write() as tx:
        now, user = clock.now(), lock_user(tx, user_id)
        if user.factor_step is not None:
            raise Conflict(
                "The second factor is on already. If you did not see the recovery codes, make new "
                "ones on the page of your account"
            )
        if user.factor_seed is None:
            raise Conflict("No set-up is under way: begin it on the page of your account")
        step = _find_step(user, secret_key, code, now)
        if step is None:
            raise reject_field(
                "code", "That code does not fit: type the one that your app shows now"
            )
        change_user(tx, user_id, factor_step=step)
        audit_own(tx, user, "set up second factor", now)
        return make_recovery_codes(tx, user_id)


def turn_off(db: Database, clock: Clock, user_id: int, typed: TypedCode) -> None:
    """Remove the second factor of a user by a code.

    Raises CodeRefused for a wrong or used code, Conflict if there is no second factor.
    """
    with db.write() as tx:
        now, user = clock.now(), lock_user(tx, user_id)
        if user.factor_step is None:
            raise Conflict("You have no second factor: nothing was changed")
        wait_s = try_code(tx, user, typed, now=now)
        if not wait_s:
            remove_factor(tx, user_id)
            audit_own(tx, user, "turn off second factor", now)
    if wait_s:
        raise CodeRefused(wait_s)


def make_recovery_codes(tx: Connection, user_id: int) -> list[str]:
    """Make recovery codes of a user, in place of those before.  Returns them."""
    codes = [_make_recovery_code() for _ in range(RECOVERY_CODES)]
    rows = [{"user_id": user_id, "code_hash": _hash_recovery_code(code)} for code in codes]
    tx.execute(delete(_RECOVERY).where(_RECOVERY.c.user_id == user_id))
    tx.execute(insert(_RECOVERY), rows)
    return codes


def count_recovery_codes(db: Database, user_id: int) -> int:
    """Return how many recovery codes a user has left."""
    query = select(func.count()).select_from(_RECOVERY).where(_RECOVERY.c.user_id == user_id)
    with db.read() as tx:
        return tx.execute(query).scalar_one()


def try_code(tx: Connection, user: Row[Any], typed: TypedCode, *, now: datetime) -> int:
    """Try a code of a locked user who has a second factor; one that fits is used up.

    Returns 0 if it fits, else the seconds until another may be tried.
    """
    attempt = begin_try(tx, Subjects.of(user.name_key, typed.address), now=now)
    if attempt.is_allowed and _use_code(tx, user, typed, now):
        take_back(tx, attempt)
        return 0
    return attempt.wait_s


def remove_factor(tx: Connection, user_id: int) -> None:
    """Remove the second factor of a user, and the recovery codes."""
    change_user(tx, user_id, factor_seed=None, factor_step=None)
    tx.execute(delete(_RECOVERY).where(_RECOVERY.c.user_id == user_id))


def _use_code(tx: Connection, user: Row[Any], typed: TypedCode, now: datetime) -> bool:
    step = _find_step(user, typed.secret_key, typed.code, now)
    if step is not None:
        change_user(tx, user.id, factor_step=step)
        return True
    is_its = _RECOVERY.c.code_hash == _hash_recovery_code(typed.code)
    used = tx.execute(delete(_RECOVERY).where(_RECOVERY.c.user_id == user.id, is_its)).rowcount
    if used:
        audit_own(tx, user, "use recovery code", now)
    return bool(used)


def _find_step(user: Row[Any], secret_key: str, code: str, now: datetime) -> int | None:
    """Return the step of time of a code that was not used; None if it does not fit."""
    typed = "".join(code.split())
    if not _SIX_DIGITS.fullmatch(typed):
        return None
    totp = TOTP(_make_secret(secret_key, user.factor_seed))
    this_step = int(now.timestamp()) // _STEP_S
    newest = this_step + _SLACK_STEPS
    # A step of the future was noted under a wrong clock.
    is_noted = user.factor_step is not None and user.factor_step <= newest
    used = user.factor_step if is_noted else 0
    for step in range(max(this_step - _SLACK_STEPS, used + 1), newest + 1):
        if hmac.compare_digest(totp.generate_otp(step), typed):
            return step
    return None


def _make_secret(secret_key: str, seed: bytes) -> str:
    made = hmac.digest(secret_key.encode(), b"clarion second factor\0" + seed, "sha256")
    return base64.b32encode(made[:20]).decode()


def _make_recovery_code() -> str:
    return "-".join(
        "".join(secrets.choice(_RECOVERY_LETTERS) for _ in range(_GROUP_LETTERS))
        for _ in range(_RECOVERY_GROUPS)
    )


def _hash_recovery_code(code: str) -> bytes:
    return hash_token("".join(code.casefold().split()).translate(_LOOK_ALIKE))
