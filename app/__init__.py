"""Clarion: a self-hosted bulk-SMS broadcast service over the Sinch SMS API."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app.auth import identify_clients
from app.cli import register_commands
from app.config import Config
from app.errors import register_error_handlers
from app.failpoints import failpoints
from app.health import Readiness
from app.health import blueprint as health
from app.http.openapi import make_api
from app.http.security import secure_responses
from app.logs import configure_logging, log_requests
from app.rate_limit import make_limiter
from app.sms.blueprints import BLUEPRINTS as SMS
from app.sms.context import make_context
from app.sms.privacy.person_export import SOURCES
from app.subscribers.blueprints import BLUEPRINTS as SUBSCRIBERS
from app.web.routes import blueprint as web
from app.webhooks.incoming.routes import register_callbacks
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.webhooks.outgoing.routes import blueprint as client_webhooks


def create_app(config: Config) -> Flask:
    """The whole service, wired from its settings; reads no environment and calls nobody."""
    flask_app = Flask(__name__, static_folder=None)
    flask_app.url_map.merge_slashes = False  # a doubled slash is a wrong URL, not a redirect
    flask_app.config.update(
        SECRET_KEY=config.secret_key,
        MAX_CONTENT_LENGTH=config.max_body_bytes,
        PRODUCTION=config.production,
    )
    flask_app.json.sort_keys = False  # type: ignore[attr-defined]  # answers keep their order
    configure_logging(config.log_level)

    ctx = make_context(config)
    if config.failpoint:
        failpoints.arm(*config.failpoint)
    flask_app.extensions["clarion"] = ctx
    flask_app.extensions["readiness"] = Readiness(ctx.sinch)
    flask_app.extensions["person_sources"] = SOURCES
    flask_app.extensions["webhook_client"] = WebhookHttpClient(production=config.production)
    register_callbacks(flask_app, ctx, config.webhook_auth)
    if config.trusted_proxies:
        hops = config.trusted_proxies
        flask_app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            flask_app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops
        )
    for wake_workers in ("wake_workers", "wake_report_worker", "wake_importer"):
        flask_app.extensions[wake_workers] = lambda: None  # until a background is started

    # Hooks run in the order given, those after a request in the reverse: the log line comes last.
    log_requests(flask_app)
    identify_clients(flask_app, config.api_keys)
    make_limiter(
        flask_app,
        limit=config.rate_limit,
        read_limit=config.read_rate_limit,
        redis_url=config.redis_url,
    )
    secure_responses(flask_app, production=config.production)

    api = make_api(flask_app)
    for blueprint in (*SMS, *SUBSCRIBERS, client_webhooks, health):
        api.register_blueprint(blueprint)
    flask_app.register_blueprint(web)
    register_error_handlers(flask_app)
    register_commands(flask_app)
    return flask_app
