"""Users for tests: invited, with a password, signed in."""

from datetime import datetime
from threading import Barrier, Thread
from typing import Any

from sqlalchemy import MetaData, select, update
from werkzeug.security import generate_password_hash

from app.accounts.models import User
from app.accounts.names import fold_name
from app.accounts.roles import Role
from app.accounts.sessions import SignedIn, find_session, sign_in
from app.accounts.users import UserRow, accept_invitation, create_user, list_users
from app.db.audit import AuditEntry
from app.db.base import table_of
from app.db.engine import Database
from tests.clocks import ManualClock

PASSWORD = "correct horse battery"
# To hash it as the service does takes a tenth of a second of the processor.
_QUICKLY_HASHED = generate_password_hash(PASSWORD, "pbkdf2:sha256:1")
ADDRESS = "192.0.2.1"


class Accounts:
    """A database and a clock that a test moves."""

    def __init__(self, db: Database) -> None:
        self.db, self.clock = db, ManualClock()

    @property
    def url(self) -> str:
        return self.db.engine.url.render_as_string(hide_password=False)

    def now(self) -> datetime:
        return self.clock.now()


def invite(accounts: Accounts, name: str = "Anna", role: Role = Role.SENDER) -> str:
    """A new user's invitation."""
    return create_user(accounts.db, accounts.clock, name, role, actor="cli:ops")


def join(accounts: Accounts, name: str = "Anna", role: Role = Role.SENDER) -> UserRow:
    """A user with a password."""
    invite(accounts, name, role)
    return give_password(accounts.db, name)


def join_by_link(accounts: Accounts, name: str = "Anna") -> UserRow:
    """A user with a password that takes as long to compare as everywhere else."""
    return accept_invitation(accounts.db, accounts.clock, invite(accounts, name), PASSWORD)


def give_password(db: Database, name: str) -> UserRow:
    """Give PASSWORD to an invited user, with a hash that takes no time."""
    users = table_of(User)
    invited = update(users).where(users.c.name_key == fold_name(name))
    values = {"password_hash": _QUICKLY_HASHED, "invitation_hash": None, "invited_until": None}
    with db.write() as tx:
        tx.execute(invited.values(values))
    (given,) = (user for user in list_users(db) if fold_name(user.name) == fold_name(name))
    return given


def enter(
    accounts: Accounts, name: str = "Anna", password: str = PASSWORD, *, address: str = ADDRESS
) -> str:
    """The token of a new session."""
    return sign_in(accounts.db, accounts.clock, name, password, address=address)


def find(accounts: Accounts, token: str) -> SignedIn | None:
    return find_session(accounts.db, accounts.clock, token)


def read_audit(accounts: Accounts) -> list[tuple[str, str, str]]:
    entries = table_of(AuditEntry)
    with accounts.db.read() as tx:
        rows = tx.execute(select(entries).order_by(entries.c.id)).all()
    return [(row.actor, row.action, row.subject) for row in rows]


def read_database(accounts: Accounts) -> str:
    """Every row of every table, as a text."""
    metadata, stored = MetaData(), ""
    with accounts.db.read() as tx:
        metadata.reflect(tx)
        for table in metadata.sorted_tables:
            stored += "".join(str(tuple(row)) for row in tx.execute(select(table)))
    return stored


def at_once(url: str, *actions: Any) -> list[Any]:
    """Run actions at the same moment, each with a database of its own as processes have.

    Returns what each returned or raised.
    """
    results: list[Any] = [None] * len(actions)
    start = Barrier(len(actions))

    def run(number: int) -> None:
        db = Database(url)
        try:
            with db.read():  # connected before the others start
                pass
            start.wait(30)
            results[number] = actions[number](db)
        except Exception as e:
            results[number] = e
        finally:
            db.close()

    threads = [Thread(target=run, args=(number,)) for number in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
