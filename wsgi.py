"""The WSGI application: `gunicorn wsgi:app`, `flask --app wsgi run`."""

from app import create_app
from app.config import load_config_or_exit

app = create_app(load_config_or_exit())
