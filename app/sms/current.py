"""The Context of the current Flask app."""

from dataclasses import replace

from flask import current_app, g

from app.sms.context import Context


def current_context() -> Context:
    """Return the Context of the current app, with the calling client as its viewer.

    Raises WrongDatabase: a cancel in a copy of the database must not reach Sinch.
    """
    ctx: Context = current_app.extensions["clarion"]
    ctx.require_own_database()
    return replace(ctx, viewer=g.client.viewer)
