"""Schemas of messages: query parameters and responses."""

from dataclasses import asdict
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate
from webargs.fields import DelimitedList

from app.http.fields import (
    Cursor,
    MessageText,
    PhoneNumber,
    describe,
    next_cursor,
    nullable,
    required,
)
from app.http.files import CsvQuerySchema
from app.pagination import Page
from app.sms.lifecycle.counts import STATUS_NAMES, explain_status
from app.sms.messages.list import MessageView
from app.sms.messages.queries import MessageFilter
from app.sms.models.states import ExclusionReason
from app.sms.models.statuses import MessageStatus


class WhySchema(Schema):
    """The status of a message, and the reason."""

    status = fields.String(required=True, validate=validate.OneOf(STATUS_NAMES))
    code = fields.Integer(**nullable("Sinch's status code, if any."))
    reason = fields.String(**required("The reason, in a sentence."))
    retry = fields.Boolean(**required("True if resending may help."))


class MessageSchema(WhySchema):
    """A message: one recipient's copy of a broadcast."""

    recipient = fields.String(required=True)
    at = fields.DateTime(
        **nullable("When the status changed, by Sinch's clock if it reported one.")
    )
    batch_id = fields.String(required=True, allow_none=True)
    client_reference = fields.String(required=True, allow_none=True)


class MessagePageSchema(Schema):
    """A page of a broadcast's messages, in the order of sending."""

    messages = fields.List(fields.Nested(MessageSchema), required=True)
    cursor = next_cursor()


class FoundMessageSchema(MessageSchema):
    """A message to one person, with its text and its broadcast."""

    broadcast_id = fields.String(required=True)
    broadcast_status = fields.String(required=True)
    url = fields.String(**required("Path of the broadcast."))
    client = fields.String(required=True)
    reference = fields.String(required=True, allow_none=True)
    sender = fields.String(required=True)
    text = fields.String(**required("The text with this person's values filled in."))
    created_at = fields.DateTime(required=True)


class FoundMessagesSchema(Schema):
    """A page of messages to one person, newest first."""

    recipient = fields.String(required=True)
    explanation = fields.String(
        **nullable(
            "What happened to the newest message, or why there is none; null after the first page."
        )
    )
    messages = fields.List(fields.Nested(FoundMessageSchema), required=True)
    cursor = next_cursor()


# The largest INTEGER of our columns.
_MAX_CODE = 2**31 - 1


def _check_statuses(names: list[str]) -> None:
    """Raise ValidationError unless all are statuses; it names the field, not a place in it."""
    if not names or not {*names} <= {*STATUS_NAMES}:
        raise ValidationError("Not a status of a message.")


class MessageChoiceSchema(Schema):
    """Filter of a broadcast's messages."""

    statuses = DelimitedList(
        fields.String(metadata={"enum": STATUS_NAMES}),
        data_key="status",
        validate=_check_statuses,
        metadata=describe("One or more statuses, separated by commas."),
    )
    code = fields.Integer(
        validate=validate.Range(0, _MAX_CODE), metadata=describe("Sinch's status code.")
    )
    exclusion_reason = fields.Enum(
        ExclusionReason,
        by_value=True,
        metadata=describe("Why recipients are excluded or deferred."),
    )

    @post_load
    def gather_filter(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Return the parameters with those of the filter as `wanted`."""
        statuses = tuple(MessageStatus(name) for name in data.pop("statuses", ()))
        code, reason = data.pop("code", None), data.pop("exclusion_reason", None)
        return data | {"wanted": MessageFilter(statuses, code, reason)}


class MessageFileSchema(MessageChoiceSchema, CsvQuerySchema):
    """Query parameters of a broadcast's messages as a file."""


class MessageQuerySchema(MessageChoiceSchema):
    """Query parameters of the list of messages."""

    cursor = MessageText(validate=validate.Length(1, 64))
    limit = fields.Integer(validate=validate.Range(1, 1000), load_default=100)


class SearchSchema(Schema):
    """The recipient to search for, and the page."""

    recipient = PhoneNumber(required=True)
    cursor = Cursor()
    limit = fields.Integer(strict=True, validate=validate.Range(1, 200), load_default=50)


def show_messages(page: Page[MessageView]) -> dict[str, Any]:
    """Return a page of messages as JSON, with the reasons for their statuses."""
    messages = [
        asdict(message) | explain_status(message.status, message.code, message.exclusion_reason)
        for message in page.rows
    ]
    return {"messages": messages, "cursor": page.cursor}
