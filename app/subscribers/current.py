"""The SubscriberContext of the current Flask app."""

from dataclasses import replace

from flask import current_app, g

from app.subscribers.context import SubscriberContext


def current_subscriber_context() -> SubscriberContext:
    """Return the SubscriberContext of this app for the calling client.  Raises WrongDatabase."""
    ctx = current_app.extensions["clarion"]
    ctx.require_own_database()
    subscriber_context: SubscriberContext = ctx.subscriber_context
    return replace(subscriber_context, viewer=g.client.viewer)
