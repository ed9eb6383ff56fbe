"""The least a Flask service can do with the same request: parse the JSON and answer JSON, or
nothing at all."""

from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.post("/api/broadcast")
def answer() -> tuple[Response, int]:
    """How many recipients there are."""
    return jsonify({"recipients": len(request.get_json()["recipients"])}), 202


@app.post("/webhooks/sinch")
def do_nothing() -> str:
    """An empty answer."""
    return ""
