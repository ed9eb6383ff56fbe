"""What went wrong, named for what it means to whoever sends.

    SinchError
    ├── SinchNotSent              proven: nobody gets a text from this call
    │   ├── SinchUnreachable      no byte of the request left; try again
    │   ├── SinchBusy             429; try again later
    │   ├── SinchRejected         400, 413, 415, 422, some 403: this payload never will be taken
    │   └── SinchMisconfigured    401, 402, 403, 404, 405, 3xx: no payload will, as things stand
    ├── SinchOutcomeUnknown       the request left, no usable answer came
    └── SinchAnswerUnusable       a question (GET) got no clean answer: nothing is known by it

Sources: https://developers.sinch.com/docs/sms/api-reference/status-codes; that Sinch has no
idempotency key follows from its reference, which documents none.
"""


class SinchError(Exception):
    """A call to Sinch did not do what was asked."""


class SinchNotSent(SinchError):
    """Proven: nobody gets a text from this call."""


class SinchUnreachable(SinchNotSent):
    """No byte of the request was written: nothing was sent, safe to try again."""


class SinchRefusal(SinchNotSent):
    """Sinch answered no.

    `status` is the HTTP status; `code` and `text` are Sinch's, None where the answer held none
    in the documented shape.
    """

    def __init__(self, status: int, code: str | None, text: str | None) -> None:
        super().__init__(f"HTTP {status} {code or ''}".strip())
        self.status = status
        self.code = code
        self.text = text


class SinchBusy(SinchRefusal):
    """429: nothing was sent; `retry_after_s` is Sinch's wish, None when it named none."""

    def __init__(self, code: str | None, text: str | None, *, retry_after_s: float | None) -> None:
        super().__init__(429, code, text)
        self.retry_after_s = retry_after_s


class SinchRejected(SinchRefusal):
    """This payload is refused: nothing was sent, and the same again will be refused again."""


class SinchMisconfigured(SinchRefusal):
    """Address, plan, token or account is wrong: nothing was sent, nor would anything else be."""


class SinchOutcomeUnknown(SinchError):
    """The request left, no usable answer came: trying again may send twice."""


class SinchAnswerUnusable(SinchError):
    """A question got no clean answer; it proves neither presence nor absence."""
