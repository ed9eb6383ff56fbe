"""Headers that keep a browser from doing more with our answers than was meant."""

from flask import Flask, Response

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_HSTS = "max-age=31536000; includeSubDomains"


def secure_responses(app: Flask, *, production: bool) -> None:
    """Set the headers on every answer that has not set its own; HSTS in production."""
    headers = {**_ALWAYS, **({"Strict-Transport-Security": _HSTS} if production else {})}

    def set_headers(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    app.after_request(set_headers)
