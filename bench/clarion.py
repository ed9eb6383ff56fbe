"""The service to measure: a new database, a Sinch without latency, no rate limit."""

import contextlib
import gc
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flask.testing import FlaskClient

from app.config import read_config
from app.db.engine import Database
from app.db.migrating import upgrade_database
from app.factory import create_app
from bench.measure import find_workers, free_port, serving

KEY = "bench-key"
INSTANCE = "bench"


@contextlib.contextmanager
def opened(database_url: str, *, instance_id: str = INSTANCE) -> Iterator[Database]:
    """Open a migrated database, and close it at the end, so that an SQLite file is complete."""
    db = Database(database_url)
    upgrade_database(db, instance_id=instance_id)
    yield db
    db.close()


@contextlib.contextmanager
def running_clarion(sinch: int) -> Iterator[tuple[int, int]]:
    """Run a new service over the Sinch on that port.  Yields its port and its worker's pid."""
    port = free_port()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = f"sqlite:///{Path(folder).resolve() / 'clarion.db'}"
        with opened(url):
            pass
        settings = make_settings(url, sinch=sinch, PORT=str(port))
        with serving(["-m", "gunicorn", "wsgi:app"], port, **settings) as master:
            yield port, find_workers(master.pid)[0]


def make_settings(database_url: str, *, sinch: int, **more: str) -> dict[str, str]:
    """Return the environment of a service over this database and the Sinch on that port."""
    return {
        "APP_ENV": "test",
        "API_KEYS": f"bench:{KEY}",
        "SECRET_KEY": "bench",
        "SINCH_SERVICE_PLAN_ID": "plan",
        "SINCH_API_TOKEN": "token",
        "SINCH_NUMBER": "+12015550199",
        "SINCH_REGION_URL": f"http://127.0.0.1:{sinch}",
        "RATE_LIMIT": "100000000 per minute",
        "READ_RATE_LIMIT": "100000000 per minute",
        "DATABASE_URL": database_url,
        "INSTANCE_ID": INSTANCE,
        **more,
    }


def open_service(url: str, **more: str) -> FlaskClient:
    """Return a test client of a service over this database, with more settings."""
    settings = make_settings(url, sinch=9, LOG_LEVEL="error", **more)
    client = create_app(read_config(settings)).test_client()
    # As gunicorn.conf.py does in a worker.
    gc.collect()
    gc.freeze()
    return client


def time_looks(client: FlaskClient, path: str, looks: int) -> float:
    """Return the seconds that the requests take."""
    started = time.perf_counter()
    for _ in range(looks):
        answer = client.get(path, headers={"X-API-Key": KEY})
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
    return time.perf_counter() - started
