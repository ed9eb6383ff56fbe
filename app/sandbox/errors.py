"""The one error the sandbox's Sinch side raises: the request is refused."""

from http import HTTPStatus


class Refused(Exception):
    """The request changed nothing; status, code and text are what the caller is told."""

    def __init__(self, status: HTTPStatus, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


def bad_json(text: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "syntax_invalid_json", text)


def bad_format(text: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "syntax_invalid_parameter_format", text)


def bad_constraint(text: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "syntax_constraint_violation", text)


def forbidden(code: str, text: str) -> Refused:
    return Refused(HTTPStatus.FORBIDDEN, code, text)


def not_found(what: str) -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, "not_found", f"{what} not found")
