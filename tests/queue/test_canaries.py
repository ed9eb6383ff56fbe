"""No number, text, key or token in what web, workers and beat give out besides their answers.

What goes in: broadcasts, people, imports, texts from phones, templates, keys, passwords, webhooks,
refused requests, an error.  What comes out: logs at debug level, all that passes the broker,
metrics, Sentry's events, temporary files, the audit log, the manifest of a backup, and what a key
without the scope gets.  tests/journeys/test_canaries.py has ten thousand numbers in one log.
"""

import base64
import contextlib
import random
import re
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import quote_plus

import pytest
import requests

from app.accounts.roles import Role
from app.accounts.users import create_user
from app.clock import Clock
from app.db.engine import Database
from tests.accounts.people import PASSWORD, give_password
from tests.commands import FLASK, run_command
from tests.factories import AUTH, KEY, broadcast_to, settings
from tests.kills.mortal import wait_until
from tests.metrics.sink import mend, running_sink, spoil
from tests.queue.crew import UNHURRIED
from tests.web.visitor import sign_in_at
from tests.webhooks.outgoing.receivers import Receiver
from tests.wire import unused_port

SEED = 20261130
TOKEN = "canarytoken4f9a1c7e2b8d"
# What a kombu message and Sentry's protocol wrap in base 64.
_WRAPPED = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_EXPORTS = [
    *("/api/subscribers.csv", "/api/suppressions.csv", "/api/subscribers", "/api/suppressions"),
    *("/api/inbounds", "/api/templates", "/api/webhooks", "/api/subscribers/imports"),
    *("{broadcast}/messages.csv", "{broadcast}/messages"),
]


@dataclass
class Canaries:
    """Numbers, words and secrets that are found again wherever they come out."""

    dice: random.Random
    drawn: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=lambda: {TOKEN, KEY, PASSWORD})

    def number(self):
        digits = f"4670{self.dice.randrange(10**6, 10**7)}"
        self.drawn |= {digits, f"0{digits[2:]}"}
        return f"+{digits}"

    def word(self):
        word = f"canary{self.dice.getrandbits(64):016x}"
        self.drawn.add(word)
        return word

    def find(self, text):
        """Return the canaries in a text, unwrapped where it is in base 64."""
        text = "\n".join([text, *map(_unwrap, _WRAPPED.findall(text))])
        words = set(re.findall(r"canary[0-9a-f]{16}", text))
        for digits in re.findall(r"[0-9]{10,}", text):
            words |= {digits[at : at + size] for at in range(len(digits)) for size in (10, 11)}
        return {each for each in self.secrets if each in text or quote_plus(each) in text} | (
            words & self.drawn
        )


def _unwrap(wrapped):
    try:
        return base64.b64decode(wrapped).decode("utf-8", "ignore")
    except ValueError:
        return ""


@contextlib.contextmanager
def overheard(port):
    """Everything that clients tell this broker, and what it keeps at the end."""
    heard = []
    with socket.create_connection(("127.0.0.1", port), 30) as line:
        line.sendall(b"MONITOR\r\n")
        listening = threading.Thread(target=lambda: heard.extend(iter(lambda: _read(line), b"")))
        listening.start()
        try:
            yield heard
        finally:
            line.shutdown(socket.SHUT_RDWR)
            listening.join(30)


def _read(line):
    """Return what was said; nothing once a broker that was killed has cut the line."""
    try:
        return line.recv(65_536)
    except TimeoutError:
        return b" "
    except ConnectionError:
        return b""


@contextlib.contextmanager
def collected(folder):
    """What each file of a folder had last, by its name."""
    found, ended = {}, threading.Event()

    def look():
        paths = []
        while not ended.wait(0.05):
            with contextlib.suppress(OSError):  # a folder is gone since
                paths = list(folder.rglob("*"))
            for path in paths:
                with contextlib.suppress(OSError):
                    found[path.name] = path.read_bytes()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        ended.set()
        looking.join(30)


@dataclass
class Outputs:
    """What came out, by where."""

    texts: dict[str, str] = field(default_factory=dict)
    codes: set[int] = field(default_factory=set)
    shown: str = ""


@pytest.fixture(scope="module")
def canaries():
    return Canaries(random.Random(SEED))


@pytest.fixture
def outputs(make_crew, database_url, sinch, broker, tmp_path, canaries):
    """All outputs of an installation after the journeys of all canaries."""
    folder, port, found = tmp_path / "temporary", unused_port(), Outputs()
    folder.mkdir()
    db = Database(database_url)
    create_user(db, Clock(), "Anna", Role.ADMIN, actor="tests")
    give_password(db, "Anna")
    db.close()
    sinch.control.set(token=TOKEN, hmac_secret=TOKEN + TOKEN)
    sinch.control.set(inbound_url=f"http://127.0.0.1:{port}/webhooks/sinch")
    with (
        running_sink() as sink,
        Receiver().running() as receiver,
        overheard(broker.port) as heard,
        collected(folder) as files,
    ):
        crew = make_crew(
            database_url,
            **UNHURRIED,
            LOG_LEVEL="debug",
            PORT=str(port),
            PUBLIC_URL=f"http://127.0.0.1:{port}",
            SINCH_API_TOKEN=TOKEN,
            SINCH_WEBHOOK_SECRET=TOKEN + TOKEN,
            SENTRY_DSN=sink.dsn,
            TMPDIR=str(folder),
            METRICS_DIR=str(folder / "metrics"),
        ).start_web()
        crew.start_worker()
        crew.start_beat()
        journey = Journey(crew, sinch, receiver, canaries, found)
        journey.go()
        _run_commands(crew, tmp_path, canaries, found)
        found.texts["metrics"] = requests.get(f"{crew.web.url}/metrics", timeout=30).text
        _make_errors(crew, sink, database_url, canaries)
        found.texts["Sentry"] = b"\n".join(sink.envelopes).decode()
    found.texts["broker"] = b"".join(heard).decode("utf-8", "replace")
    found.texts["log of web"] = crew.web.output.read_text()
    found.texts["log of workers and beat"] = crew.output()
    found.texts["temporary files"] = "\n".join(
        f"{name} {content.decode('utf-8', 'replace')}" for name, content in files.items()
    )
    return found


@dataclass
class Journey:
    """The ways on which numbers, texts and keys come in."""

    crew: object
    sinch: object
    receiver: Receiver
    canaries: Canaries
    found: Outputs

    def go(self):
        number, word = self.canaries.number, self.canaries.word
        hook = {"url": f"{self.receiver.url}/{word()}", "event_types": ["broadcast.completed"]}
        self.ask("POST", "/api/webhooks", hook)
        texts = {"name": "greeting", "texts": {"en": f"Hi {word()}"}, "default_language": "en"}
        self.ask("POST", "/api/templates", texts)
        ann, bo, cleo = (number() for _ in range(3))
        for phone in (ann, bo, cleo):
            names = {"first_name": word(), "attributes": {"city": word()}, "tags": ["all"]}
            self.ask("POST", "/api/subscribers", {"phone": phone, **names})
        self.import_people([number() for _ in range(50)])
        few = self.crew.post(broadcast_to(ann, bo, message=word(), reference=word()))
        many = self.crew.post(broadcast_to(*[number() for _ in range(1_500)], message=word()))
        tag = self.ask("POST", "/api/broadcast/tag/all", {"message": word()})
        self.crew.wait_until_complete(few, many, tag)
        self.hear(ann, word())
        self.hear(bo, "STOP")
        self.ask("POST", "/api/suppressions", {"phone": cleo, "note": "by letter"})
        self.ask("POST", "/api/suppressions/lookup", {"phone": cleo})
        self.ask("POST", "/api/messages/search", {"recipient": ann})
        self.ask("POST", "/api/consent/evidence", {"phone": ann})
        self.ask("POST", "/api/broadcast/quote", broadcast_to(cleo, message=word()))
        self.ask("POST", "/api/suppressions/erase", {"phone": cleo})
        self.be_refused()
        self.look_at_pages()
        self.export(few.json()["url"])
        wait_until(lambda: self.receiver.told, within_s=60, why="the client is told")

    def ask(self, method, path, body=None, headers=AUTH, **more):
        url = f"{self.crew.web.url}{path}"
        answer = requests.request(method, url, json=body, headers=headers, timeout=60, **more)
        self.found.codes.add(answer.status_code)
        return answer

    def import_people(self, phones):
        made = self.ask("POST", "/api/subscribers/imports", {"tags": ["imported"]}).json()
        rows = [f"{phone},{self.canaries.word()}" for phone in phones]
        rows.append(f"12{self.canaries.word()},wrong")
        url = f"/api/subscribers/imports/{made['import_id']}"
        headers = AUTH | {"Content-Type": "text/csv"}
        self.ask("PUT", f"{url}/file", data="\n".join(["phone,city", *rows]), headers=headers)
        done = lambda: self.crew.get(url)["status"] == "complete"  # noqa: E731
        wait_until(done, within_s=60, why="the file is imported")
        self.found.shown += self.ask("GET", f"{url}/refused.csv").text

    def hear(self, phone, body):
        self.sinch.control.text_from(phone, body)
        heard = lambda: body in self.ask("GET", "/api/inbounds").text  # noqa: E731
        wait_until(heard, within_s=60, why="the text is in the inbox")

    def be_refused(self):
        """Give canaries in every place of a request that is refused."""
        number, word = self.canaries.number, self.canaries.word
        self.ask("POST", "/api/broadcast", broadcast_to(f"{number()}x", message=word()))
        self.ask("POST", "/api/broadcast", {word(): number(), "message": [word()]})
        self.ask("POST", "/api/broadcast", broadcast_to(number()), {"X-API-Key": word()})
        self.ask("GET", f"/{word()}?{number()}", headers={"Authorization": f"Bearer {word()}"})
        self.ask("GET", "/metrics", headers={"Authorization": f"Bearer {word()}"})
        self.ask("POST", "/webhooks/sinch", {"from": number()[1:], "body": word()})
        self.ask("PUT", "/api/prices", {"prices": word()})

    def look_at_pages(self):
        url = self.crew.web.url
        sign_in_at(url, "Anna", self.canaries.word())
        sign_in_at(url, self.canaries.word(), self.canaries.word())
        browser = sign_in_at(url, "Anna")
        for path in ("/overview", "/people", "/inbox", "/people/suppressions", "/audit", "/keys"):
            answer = browser.get(f"{url}{path}", timeout=60)
            self.found.codes.add(answer.status_code)
            self.found.shown += answer.text
        self.canaries.secrets |= set(browser.cookies.values())

    def export(self, broadcast):
        """Read everything with a key that may, and with one that may not."""
        made = run_command(
            [*FLASK, "keys", "create", "tests", "--scope", "broadcasts:send"],
            settings(**self.crew.settings),
        )
        (key,) = re.findall(r"(?m)^clarion_\S+$", made.stdout)
        self.canaries.secrets.add(key)
        for each in _EXPORTS:
            path = each.format(broadcast=broadcast)
            self.found.shown += self.ask("GET", path).text
            refused = self.ask("GET", path, headers={"X-API-Key": key})
            assert refused.status_code == 403, path
            self.found.texts[f"{path} without its scope"] = refused.text


def _run_commands(crew, tmp_path, canaries, found):
    """Export the audit log, list keys, and make a backup."""
    environ = settings(**crew.settings)
    for name, arguments in {
        "audit log": ["audit", "export"],
        "list of the audit log": ["audit", "list", "--limit", "1000"],
        "list of keys": ["keys", "list"],
        "backup": ["backup", "create", str(tmp_path / "backups")],
    }.items():
        ended = run_command([*FLASK, *arguments], environ)
        assert ended.returncode == 0, ended.stderr
        found.texts[name] = ended.stdout + ended.stderr
    (manifest,) = (tmp_path / "backups").glob("*.json")
    found.texts["manifest"] = f"{manifest.name} {manifest.read_text()}"


def _make_errors(crew, sink, database_url, canaries):
    """Make web and workers fail, with errors that quote a value."""
    path = database_url.removeprefix("sqlite:///")
    spoil(path, f"{canaries.word()} {canaries.number()}")
    failed = crew.post(broadcast_to(canaries.number(), message=canaries.word()))
    assert failed.status_code == 500
    wait_until(lambda: len(sink.events()) >= 2, within_s=60, why="web and worker have failed")
    mend(path)


def test_no_output_has_a_canary(outputs, canaries):
    leaks = {name: found for name, text in outputs.texts.items() if (found := canaries.find(text))}

    assert leaks == {}
    # The canaries went in: those who may see them do.
    assert len(canaries.find(outputs.shown)) > 100
    assert outputs.codes >= {200, 201, 202, 400, 401, 403, 404}
    # And outputs are what they are called.
    assert '"request answered"' in outputs.texts["log of web"]
    assert "clarion.record" in outputs.texts["log of workers and beat"]
    assert "clarion-work" in outputs.texts["broker"]
    assert "clarion_messages" in outputs.texts["metrics"]
    assert '"export"' in outputs.texts["audit log"]
    assert '"sha256"' in outputs.texts["manifest"]
    assert "counter_" in outputs.texts["temporary files"]
    assert "exception" in outputs.texts["Sentry"]
