"""The Context of the current Flask app."""

from flask import current_app

from app.sms.context import Context


def current_context() -> Context:
    """Return the Context of the current app.

    Raises WrongDatabase: a cancel in a copy of the database must not reach Sinch.
    """
    ctx: Context = current_app.extensions["clarion"]
    ctx.require_own_database()
    return ctx
