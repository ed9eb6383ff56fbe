"""Broadcast requests: JSON in, a validated BroadcastRequest out.

schemas.py          JSON -> BroadcastRequest, errors by field
model.py            BroadcastRequest and what follows from it alone
prepare.py          template, opt-out footer and size, from database and settings
hints.py            what to write instead of an entry that is no phone number
error_schemas.py    the errors of routes that take a request
"""
