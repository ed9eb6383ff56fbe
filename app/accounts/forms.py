"""Forms whose answer shows a secret once: a reload of that answer sends the form again."""

from app.accounts.models import UsedForm
from app.accounts.tokens import hash_token
from app.clock import Clock
from app.db.engine import Database, insert_new


def use_form(db: Database, clock: Clock, token: str) -> bool:
    """Note that the form of a token was sent.  Returns False if it was sent before."""
    with db.write() as tx:
        return insert_new(tx, UsedForm, token_hash=hash_token(token), used_at=clock.now())
