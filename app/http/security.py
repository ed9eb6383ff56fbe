"""The Flask app; security headers of responses, sessions, and trusted proxies in front of it."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.middleware.proxy_fix import ProxyFix

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_HSTS = "max-age=31536000; includeSubDomains"


class App(Flask):
    """Flask, without its search for coroutines: 17 times a request."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a hook or a view as it is."""
        return func


def list_security_headers(*, production: bool) -> dict[str, str]:
    """Return the headers of every response, with HSTS in production."""
    return {**_ALWAYS, **({"Strict-Transport-Security": _HSTS} if production else {})}


class _SessionsOfCookies(SecureCookieSessionInterface):
    """Looks for a session only in requests with a cookie: calls of the API have none."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if "HTTP_COOKIE" in request.environ:
            return super().open_session(app, request)
        return self.session_class()


def secure_responses(app: Flask, *, production: bool) -> None:
    """Set security headers on responses that do not set them."""
    headers = [
        (name.lower(), name, value)
        for name, value in list_security_headers(production=production).items()
    ]
    app.session_interface = _SessionsOfCookies()

    def set_headers(response: Response) -> Response:
        given = {name.lower() for name, _ in response.headers}
        for key, name, value in headers:
            if key not in given:
                response.headers.add(name, value)
        return response

    app.after_request(set_headers)


def trust_proxies(app: Flask, count: int) -> None:
    """Take address, scheme and host from the X-Forwarded headers that `count` proxies add."""
    if count:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=count
        )
