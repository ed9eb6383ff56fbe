"""What the routes of people stand on."""

from flask import current_app

from app.subscribers.context import SubscriberContext


def current_subscriber_context() -> SubscriberContext:
    """What everything about people stands on in this service.  Raises WrongDatabase."""
    ctx = current_app.extensions["clarion"]
    ctx.require_own_database()
    people: SubscriberContext = ctx.subscriber_context
    return people
