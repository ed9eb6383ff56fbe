"""Tables of users, their sessions, recovery codes and used forms, and waits after wrong passwords.

users 1─* user_sessions, half_sign_ins, recovery_codes
sign_in_waits: names and addresses, also those of no user
used_forms: forms that showed a secret once
"""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.roles import Role
from app.db.base import Base
from app.db.types import NEVER_REUSE_IDS, BigId, EnumText

# Folding the case of a character makes at most three of it.
MAX_NAME, MAX_NAME_KEY = 60, 180
DIGEST_BYTES = 32
SEED_BYTES = 20


class User(Base):
    """A person who may sign in once they have a password."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_NAME))
    # The name without upper case, by which it is unique.
    name_key: Mapped[str] = mapped_column(String(MAX_NAME_KEY), unique=True)
    role: Mapped[Role] = mapped_column(EnumText(Role))
    created_at: Mapped[datetime]
    password_hash: Mapped[str | None] = mapped_column(String(255))
    # SHA-256 of the token of the link that sets a password, and the end of the link.
    invitation_hash: Mapped[bytes | None] = mapped_column(LargeBinary(DIGEST_BYTES), unique=True)
    invited_until: Mapped[datetime | None]
    # Their own number, in E.164, to which they send a text to try it.
    phone: Mapped[str | None] = mapped_column(String(16))
    # What makes the secret of the second factor, together with SECRET_KEY.
    factor_seed: Mapped[bytes | None] = mapped_column(LargeBinary(SEED_BYTES))
    # The step of time of the last code that counted; None until the second factor is confirmed.
    factor_step: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (NEVER_REUSE_IDS,)


class UserSession(Base):
    """A browser in which a user has signed in."""

    __tablename__ = "user_sessions"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id"), index=True)
    # SHA-256 of the token in the cookie.
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(DIGEST_BYTES), unique=True)
    created_at: Mapped[datetime]
    # When it was used last, to the minute.
    seen_at: Mapped[datetime]

    __table_args__ = (NEVER_REUSE_IDS,)


class HalfSignIn(Base):
    """A browser in which a user has given the password and not the code."""

    __tablename__ = "half_sign_ins"

    # SHA-256 of the token in the cookie.
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(DIGEST_BYTES), primary_key=True)
    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime]

    __table_args__ = ({"sqlite_with_rowid": False},)


class RecoveryCode(Base):
    """A code that counts once in place of one of the app's."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("users.id"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(DIGEST_BYTES), primary_key=True)

    __table_args__ = ({"sqlite_with_rowid": False},)


class UsedForm(Base):
    """A form that was sent, and whose answer showed a secret once."""

    __tablename__ = "used_forms"

    # SHA-256 of the token in the form.
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(DIGEST_BYTES), primary_key=True)
    used_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = ({"sqlite_with_rowid": False},)


class SignInWait(Base):
    """Wrong passwords for a name or from an address, and the wait that they caused.

    People type passwords into the field for the name, so that only a hash of it is stored.
    """

    __tablename__ = "sign_in_waits"

    subject_hash: Mapped[bytes] = mapped_column(LargeBinary(DIGEST_BYTES), primary_key=True)
    # Wrong passwords in a row, the time of the last, and the end of the wait that followed.
    failures: Mapped[int]
    tried_at: Mapped[datetime]
    wait_until: Mapped[datetime | None]

    __table_args__ = ({"sqlite_with_rowid": False},)
