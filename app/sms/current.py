"""What the routes of this service stand on."""

from flask import current_app

from app.sms.context import Context


def current_context() -> Context:
    """What the state machine stands on in this service.

    Raises WrongDatabase: whoever cancels in a copy of a database must not do so at Sinch.
    """
    ctx: Context = current_app.extensions["clarion"]
    ctx.require_own_database()
    return ctx
