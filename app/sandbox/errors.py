"""The error that the sandbox's API answers with Sinch's `{"code", "text"}`."""

from http import HTTPStatus


class ApiError(Exception):
    """The request is rejected and changed nothing; the answer shows status, code and text."""

    def __init__(self, status: HTTPStatus, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


def bad_json(text: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "syntax_invalid_json", text)


def bad_format(text: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "syntax_invalid_parameter_format", text)


def bad_order(text: str) -> ApiError:
    """Return the error of a control URL."""
    return ApiError(HTTPStatus.BAD_REQUEST, "bad_order", text)


def bad_constraint(text: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "syntax_constraint_violation", text)
