"""Errors of calls to Sinch, named for what each means to the caller.

    SinchError
    ├── SinchNotSent              proven: no phone gets a text from this call
    │   ├── SinchUnreachable      no byte of the request left; try again
    │   └── SinchRefusal          Sinch answered no
    │       ├── SinchBusy             429; try again later
    │       ├── SinchRejected         400, 413, 415, 422, some 403: Sinch never accepts this payload
    │       └── SinchMisconfigured    401 to 405, 3xx: the account, the URL or the sender is refused
    ├── SinchOutcomeUnknown       the request left, no usable answer came
    └── SinchAnswerUnusable       a GET got no usable answer: it proves nothing

Source: https://developers.sinch.com/docs/sms/api-reference/status-codes.  The reference documents
no idempotency key, so Sinch has none.
"""


class SinchError(Exception):
    """A call to Sinch failed."""


class SinchNotSent(SinchError):
    """Proven: no phone gets a text from this call."""


class SinchUnreachable(SinchNotSent):
    """No byte of the request was written: nothing was sent, safe to try again."""


class SinchRefusal(SinchNotSent):
    """Sinch answered no.

    `status` is the HTTP status; `code` and `text` are Sinch's, None where the answer had another
    shape than the documented one.
    """

    def __init__(self, status: int, code: str | None, text: str | None) -> None:
        super().__init__(f"HTTP {status} {code or ''}".strip())
        self.status = status
        self.code = code
        self.text = text


class SinchBusy(SinchRefusal):
    """429: nothing was sent; `retry_after_s` is Sinch's Retry-After, None without one."""

    def __init__(self, code: str | None, text: str | None, *, retry_after_s: float | None) -> None:
        super().__init__(429, code, text)
        self.retry_after_s = retry_after_s


class SinchRejected(SinchRefusal):
    """Sinch rejects this payload: nothing was sent, and another try would be rejected too."""


class SinchMisconfigured(SinchRefusal):
    """URL, plan, token, account or sender is wrong: nothing was sent; it can be once corrected."""


class SinchOutcomeUnknown(SinchError):
    """The request left, no usable answer came: trying again may send twice."""


class SinchAnswerUnusable(SinchError):
    """A GET got no usable answer; it proves neither presence nor absence."""
