"""What the routes of people stand on."""

from flask import current_app

from app.subscribers.context import People


def the_people() -> People:
    """What everything about people stands on in this service.  Raises WrongDatabase."""
    ctx = current_app.extensions["clarion"]
    ctx.require_own_database()
    people: People = ctx.people
    return people
