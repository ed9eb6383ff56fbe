"""The SubscriberContext of the current Flask app."""

from flask import current_app

from app.subscribers.context import SubscriberContext


def current_subscriber_context() -> SubscriberContext:
    """Return the SubscriberContext of this app.  Raises WrongDatabase."""
    ctx = current_app.extensions["clarion"]
    ctx.require_own_database()
    subscriber_context: SubscriberContext = ctx.subscriber_context
    return subscriber_context
