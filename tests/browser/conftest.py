"""A browser, its pages, and the service on a real socket."""

import threading

import pytest
from playwright.sync_api import expect, sync_playwright
from werkzeug.serving import make_server

from tests.browser.chromium import CHROMIUM, FLAGS
from tests.browser.watching import Clarion, Watcher
from tests.databases import migrate
from tests.processes import running
from tests.wire import unused_port

SECRET = "a secret that signs callbacks for tests"
# Until a test gives up; a busy machine takes that long.
WITHIN_MS = 60_000
expect.set_options(timeout=WITHIN_MS)


@pytest.fixture
def url(service, sandbox):
    server = make_server("127.0.0.1", 0, service, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page of a browser that has kept nothing."""
    context = browser.new_context()
    context.set_default_timeout(WITHIN_MS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def running_service(sandbox_server, tmp_path_factory):
    """One service for all tests of a module, which sends 1,000 texts a second, and its database."""
    folder, port = tmp_path_factory.mktemp("service"), unused_port()
    database_url = f"sqlite:///{folder / 'clarion.db'}"
    migrate(database_url)
    settings = {
        "SINCH_REGION_URL": sandbox_server.url,
        "DATABASE_URL": database_url,
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SINCH_WEBHOOK_SECRET": SECRET,
        "SINCH_MESSAGES_PER_SECOND": "1000",
        "SINCH_READ_TIMEOUT_S": "5",
        # A lost answer becomes a decision within seconds.
        "SWEEP_EVERY_S": "0.5",
        "RECONCILE_AFTER_S": ",".join(str(number / 2) for number in range(1, 100)),
        "ABSENT_AFTER_S": "1",
        "LOG_LEVEL": "warning",
    }
    with running(folder / "output", **settings) as service:
        yield service, database_url


@pytest.fixture
def clarion(running_service, sandbox):
    service, database_url = running_service
    sandbox.set(hmac_secret=SECRET, inbound_url=f"{service.url}/webhooks/sinch")
    return Clarion(service, database_url, sandbox)


@pytest.fixture
def open_browser(browser, clarion):
    """A function that opens a browser that has kept nothing.

    At the end none may have complained: of a policy, of a script, of another host.
    """
    watchers = []

    def open_browser(*, width=1280, scripts=True):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, java_script_enabled=scripts
        )
        context.set_default_timeout(WITHIN_MS)
        watchers.append(Watcher(context.new_page(), clarion.service.url))
        return watchers[-1]

    yield open_browser
    for watcher in watchers:
        watcher.page.context.close()
    assert [complaint for watcher in watchers for complaint in watcher.complaints] == []
