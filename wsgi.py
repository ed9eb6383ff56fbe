"""The WSGI application: `gunicorn wsgi:app`, `flask --app wsgi run`."""

from app import create_app
from app.config import load_config_or_exit
from app.worker.start import is_serving, start_background

_config = load_config_or_exit()
app = create_app(_config)
if is_serving():
    start_background(app, _config)
