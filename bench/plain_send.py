"""A plain Flask service to compare with: it validates, posts to Sinch, logs, and stores nothing."""

import os
import re

import requests
from flask import Flask, Response, jsonify, request
from loguru import logger

app = Flask(__name__)
_session = requests.Session()
_session.trust_env = False
_session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=32))
_session.headers["Authorization"] = "Bearer token"
_URL = f"{os.environ.get('SINCH_REGION_URL')}/xms/v1/plan/batches"
_NUMBER = re.compile(r"\+[1-9]\d{6,14}")


@app.post("/api/broadcast")
def send() -> tuple[Response, int]:
    """Send a text to the numbers of the body."""
    body = request.get_json()
    numbers, text = body.get("recipients"), body.get("message")
    if not text or not numbers or not all(map(_NUMBER.fullmatch, numbers)):
        return jsonify({"error": "invalid"}), 400
    payload = {"to": numbers, "from": "+12015550199", "body": text}
    answer = _session.post(_URL, json=payload, timeout=10)
    batch_id = answer.json()["id"]
    logger.bind(batch_id=batch_id, recipients=len(numbers)).info("sent")
    return jsonify(
        {"message": "SMS batch submitted successfully to Sinch.", "batch_id": batch_id}
    ), 202
