"""A minimal Flask service to compare with: one view parses and answers JSON, one does nothing."""

from flask import Flask, Response, jsonify, request

app = Flask(__name__)
# What our gunicorn worker asks of its app.
app.config.update(CLIENT_TIMEOUT_S=15, PRODUCTION=False)


@app.post("/api/broadcast")
def answer() -> tuple[Response, int]:
    """Return the number of recipients."""
    return jsonify({"recipients": len(request.get_json()["recipients"])}), 202


@app.post("/webhooks/sinch")
def do_nothing() -> str:
    """Return an empty answer."""
    return ""
