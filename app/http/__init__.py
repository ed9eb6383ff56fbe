"""HTTP plumbing shared by all routes.

A route is a view below decorators of `Blueprint`, which parse, serialize and document:

    @blueprint.route("/tags", methods=["POST"])
    @blueprint.error_response(HTTPStatus.CONFLICT, "A tag with this name exists.")
    @require_api_key(KeyScope.WRITE_SUBSCRIBERS)  # app.auth; also limits its rate
    @blueprint.arguments(TagSchema())
    @blueprint.response(HTTPStatus.CREATED, TagViewSchema)

openapi    Blueprint, register_api(), /openapi.json    fields    shared marshmallow fields
arguments  bodies and query strings, parsed strictly   files     uploads and CSV responses
body       the reader of bodies, strict JSON           security  response headers, proxies
reasons    why arguments are invalid, in plain words
gunicorn_worker   gunicorn's worker, in which slow clients hold no thread
"""
