"""Tables of users, their sessions, recovery codes and used forms, and waits after wrong passwords.

users 1─* user_sessions, half_sign_ins, recovery_codes
sign_in_waits: names and addresses, also those of no user
used_forms: forms that showed a secret once
"""

from datetime import datetime

from sqlalchemy import BigInteger, ColumnClause, ForeignKey, LargeBinary, String

from app.accounts.roles import Role
from app.db.base import Base, column
from app.db.types import NEVER_REUSE_IDS, BigId, EnumText

# Folding the case of a character makes at most three of it.
MAX_NAME, MAX_NAME_KEY = 60, 180
DIGEST_BYTES = 32
SEED_BYTES = 20


class User(Base, **NEVER_REUSE_IDS):
    """A person who may sign in once they have a password."""

    __tablename__ = "users"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    name: ColumnClause[str] = column(String(MAX_NAME))
    # The name without upper case, by which it is unique.
    name_key: ColumnClause[str] = column(String(MAX_NAME_KEY), unique=True)
    role: ColumnClause[Role] = column(EnumText(Role))
    created_at: ColumnClause[datetime]
    password_hash: ColumnClause[str | None] = column(String(255))
    # SHA-256 of the token of the link that sets a password, and the end of the link.
    invitation_hash: ColumnClause[bytes | None] = column(LargeBinary(DIGEST_BYTES), unique=True)
    invited_until: ColumnClause[datetime | None]
    # Their own number, in E.164, to which they send a text to try it.
    phone: ColumnClause[str | None] = column(String(16))
    # What makes the secret of the second factor, together with SECRET_KEY.
    factor_seed: ColumnClause[bytes | None] = column(LargeBinary(SEED_BYTES))
    # The step of time of the last code that counted; None until the second factor is confirmed.
    factor_step: ColumnClause[int | None] = column(BigInteger)


class UserSession(Base, **NEVER_REUSE_IDS):
    """A browser in which a user has signed in."""

    __tablename__ = "user_sessions"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    user_id: ColumnClause[int] = column(BigId, ForeignKey("users.id"), index=True)
    # SHA-256 of the token in the cookie.
    token_hash: ColumnClause[bytes] = column(LargeBinary(DIGEST_BYTES), unique=True)
    created_at: ColumnClause[datetime]
    # When it was used last, to the minute.
    seen_at: ColumnClause[datetime]


class HalfSignIn(Base, sqlite_with_rowid=False):
    """A browser in which a user has given the password and not the code."""

    __tablename__ = "half_sign_ins"

    # SHA-256 of the token in the cookie.
    token_hash: ColumnClause[bytes] = column(LargeBinary(DIGEST_BYTES), primary_key=True)
    user_id: ColumnClause[int] = column(BigId, ForeignKey("users.id"), index=True)
    created_at: ColumnClause[datetime]


class RecoveryCode(Base, sqlite_with_rowid=False):
    """A code that counts once in place of one of the app's."""

    __tablename__ = "recovery_codes"

    user_id: ColumnClause[int] = column(BigId, ForeignKey("users.id"), primary_key=True)
    code_hash: ColumnClause[bytes] = column(LargeBinary(DIGEST_BYTES), primary_key=True)


class UsedForm(Base, sqlite_with_rowid=False):
    """A form that was sent, and whose answer showed a secret once."""

    __tablename__ = "used_forms"

    # SHA-256 of the token in the form.
    token_hash: ColumnClause[bytes] = column(LargeBinary(DIGEST_BYTES), primary_key=True)
    used_at: ColumnClause[datetime] = column(index=True)


class SignInWait(Base, sqlite_with_rowid=False):
    """Wrong passwords for a name or from an address, and the wait that they caused.

    People type passwords into the field for the name, so that only a hash of it is stored.
    """

    __tablename__ = "sign_in_waits"

    subject_hash: ColumnClause[bytes] = column(LargeBinary(DIGEST_BYTES), primary_key=True)
    # Wrong passwords in a row, the time of the last, and the end of the wait that followed.
    failures: ColumnClause[int]
    tried_at: ColumnClause[datetime]
    wait_until: ColumnClause[datetime | None]
