"""GET /: where to go.  GET /docs: Swagger UI.  Scripts and stylesheets, all from this server."""

from pathlib import Path

import flask_swagger_ui
from flask import (
    Blueprint,
    Response,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from werkzeug.wrappers import Response as WerkzeugResponse

from app.auth import public

_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
_ASSETS_KEPT_S = 86_400

# Swagger UI sets style attributes and shows inline SVG; it needs no inline script.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

blueprint = Blueprint(
    "web", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
)


_PLACES = {
    "docs": "/docs",
    "openapi": "/openapi.json",
    "health": "/health",
    "ready": "/ready",
    "send": "POST /api/broadcast",
}


@blueprint.get("/")
@public
def show_start() -> Response | WerkzeugResponse:
    """Say where to go: the overview for browsers, JSON for programs."""
    best = request.accept_mimetypes.best_match(("application/json", "text/html"))
    if best == "text/html":
        return redirect(url_for("overview.show_overview"))
    return jsonify({"service": "Clarion", **_PLACES})


@blueprint.get("/docs/")
@public
def redirect_docs() -> WerkzeugResponse:
    """Redirect to the page without the slash."""
    return redirect(url_for("web.show_docs"))


@blueprint.get("/docs")
@public
def show_docs() -> Response:
    """Serve the interactive API documentation."""
    response = make_response(render_template("docs.html"))
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@blueprint.get("/docs/assets/<path:name>")
@public
def send_docs_asset(name: str) -> Response:
    """Serve a file of the flask-swagger-ui package."""
    response = send_from_directory(_SWAGGER_UI, name, max_age=_ASSETS_KEPT_S)
    response.headers["Cache-Control"] = f"public, max-age={_ASSETS_KEPT_S}"
    return response
