"""`make demo`: Clarion over the sandbox, with made-up people and broadcasts, and nothing stays.

Settings and database are in a temporary folder: those of the project are neither read nor changed.
Everything in it comes over HTTP, from the API and the sandbox's control URLs.
"""

import argparse
import csv
import io
import json
import os
import random
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from app.accounts.roles import Role
from app.accounts.users import create_user, make_link
from app.cli.up import ROOT, Stopped, read_first_key, start, watch_signals, write_env_file
from app.clock import Clock
from app.config import Config, load_config_or_exit
from app.db.engine import Database

ADMIN = "Anna Norling"
_SEED = 1
_PEOPLE = 9_000
_REGULARS = {
    "any": ["customers"],
    "none": ["crew"],
    "where": [{"field": "attributes.visits", "op": "gte", "value": 3}],
}
_PRICES = {"SE": "0.045", "NO": "0.052", "FI": "0.061", "DE": "0.079", "GB": "0.041", "*": "0.035"}
_WITHIN_S = 120.0
# What a process needs of the environment it was started in: no setting of ours is among it.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "TMPDIR", "VIRTUAL_ENV")
_SETTINGS = {
    "DEFAULT_TIME_ZONE": "Europe/Stockholm",
    "LOG_LEVEL": "critical",
    # So slowly that a campaign can be watched for minutes.
    "SINCH_MESSAGES_PER_SECOND": "40",
    # A lost answer becomes a decision within seconds, not within a quarter of an hour.
    "SWEEP_EVERY_S": "1",
    "RECONCILE_AFTER_S": ",".join(map(str, range(1, 60))),
    "ABSENT_AFTER_S": "5",
}


@dataclass(frozen=True, slots=True)
class _Country:
    """People of a country: their language, the form of their numbers, their share, their names."""

    language: str
    prefix: str
    digits: int
    share: int
    first_names: str
    last_names: str


_COUNTRIES = (
    _Country(
        "sv",
        "+4670",
        7,
        50,
        "Elin Oskar Maja Nils Saga Arvid Åsa Björn Ebba Göran Linnéa Olle Stina Vera",
        "Sandberg Öberg Norling Ekdahl Lindqvist Wikander Hallström Sjögren Blom",
    ),
    _Country("nb", "+4790", 6, 8, "Ingrid Håkon Solveig Lars Øyvind", "Hansen Bakke Lunde Sørli"),
    _Country("fi", "+35840", 7, 6, "Aino Eero Väinö Helmi Päivi", "Mäkinen Lahti Koskinen Salo"),
    _Country("de", "+49151", 8, 10, "Jürgen Lena Änne Timo Käthe", "Schäfer Groß Möller Vogt"),
    _Country("en", "+447700", 6, 6, "Amelia Harry Zara Callum Priya", "Okafor Lloyd Shah Bennett"),
    _Country("en", "+1", 0, 20, "Grace Mateo Aisha Noah Chloe Kenji", "Alvarez Brooks Reed Cruz"),
)
# Last two digits of American numbers to which the sandbox does something, and how often in 100.
_FATES = {1: 2, 2: 2, 5: 1, 6: 3, 8: 2, 14: 3, 20: 2, 22: 4}
_CITIES = ("Göteborg", "Malmö", "Stockholm", "Uppsala", "Oslo", "Helsinki", "Berlin", "Leeds")
_TEMPLATES = {
    "welcome": {
        "en": "Hi ${first_name}, welcome to Northshore Kayaks. Opening hours: 9 to 18.",
        "sv": "Hej ${first_name}, välkommen till Northshore Kayaks. Öppet 9 till 18.",
    },
    "pickup": {
        "en": "${first_name}, your kayak is ready at the harbour from 08:30.",
        "sv": "${first_name}, din kajak väntar i hamnen från 08:30.",
        "de": "${first_name}, dein Kajak liegt ab 08:30 im Hafen bereit.",
    },
}
# What people of the finished broadcast answer.
_REPLIES = (
    "Thank you!",
    "STOP",
    "Can I come on Sunday instead?",
    "Tack, vi ses",
    "please take me off this list",
    "Stopp",
    "Is the harbour cafe open?",
)

# The columns of a row of a file for the import.
Person = dict[str, Any]


class DemoFailed(Exception):
    """The service or the sandbox refused what the demo asked for."""


def run() -> int:
    """Run the demo until Ctrl-C.  Returns the exit code."""
    arguments = argparse.ArgumentParser(description="Clarion with made-up people and broadcasts.")
    arguments.add_argument("--people", type=int, default=_PEOPLE, help="how many, from 100")
    people = list(make_people(max(arguments.parse_args().people, 100)))
    watch_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="clarion-demo-") as folder:
            _choose_settings(Path(folder))
            return start(load_config_or_exit(), partial(_fill, people))
    except Stopped:
        return 0
    except DemoFailed as e:
        sys.stderr.write(f"clarion: the demo could not be made: {e}\n")
        return 1


def _choose_settings(folder: Path) -> None:
    """Write settings to a folder, and leave no others in the environment."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    port, sandbox_port = _find_free_ports()
    os.environ.clear()
    os.environ.update(kept, PORT=str(port))
    write_env_file(folder / ".env", example=ROOT / ".env.example")
    os.environ.update(
        _SETTINGS,
        ENV_FILE=str(folder / ".env"),
        DATABASE_URL=f"sqlite:///{folder / 'clarion.db'}",
        SINCH_REGION_URL=f"http://127.0.0.1:{sandbox_port}",
    )


def _find_free_ports() -> tuple[int, int]:
    """Return two ports on which no process listens."""
    local = ("127.0.0.1", 0)
    with socket.create_server(local) as one, socket.create_server(local) as other:
        return one.getsockname()[1], other.getsockname()[1]


@dataclass(frozen=True, slots=True)
class _Caller:
    """A caller of the service and of the sandbox's control URLs."""

    service_url: str
    sandbox_url: str
    key: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Call the service with JSON, or with bytes of a CSV file.  Returns the answer's JSON."""
        return _call(method, self.service_url + path, body, {"X-API-Key": self.key})

    def control(self, method: str, path: str, body: Any) -> Any:
        """Call a control URL of the sandbox.  Returns the answer's JSON."""
        return _call(method, f"{self.sandbox_url}/control/{path}", body, {})

    def send(self, message: str, tag: str, **more: Any) -> str:
        """Send a broadcast to a tag.  Returns its id."""
        body = {"message": message, "parameters": {"first_name": {"default": "friend"}}, **more}
        sent = self.ask("POST", f"/api/broadcast/tag/{tag}", body)
        return str(sent["broadcast_id"])


def _call(method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
    is_file = isinstance(body, bytes)
    data = body if is_file else None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "text/csv" if is_file else "application/json", **headers}
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310  # http
    # No proxy is between us and this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            content = answer.read()
    except urllib.error.HTTPError as e:
        raise DemoFailed(f"{method} {url}: {e.code} {e.read().decode()}") from e
    except OSError as e:
        raise DemoFailed(f"{method} {url}: {e}") from e
    return json.loads(content) if content else None


def _fill(people: list[Person], config: Config) -> str:
    """Fill the service with people and broadcasts.  Returns how to sign in."""
    caller = _Caller(config.own_url, config.sinch.url, read_first_key())
    _add_people(caller, people)
    _add_broadcasts(caller)
    db = Database(config.database_url, pool_size=1)
    try:
        token = create_user(db, Clock(), ADMIN, Role.ADMIN, actor="demo")
    finally:
        db.close()
    return "\n".join(
        [
            "",
            "The demo is ready. No text reaches a phone, and nothing is kept after Ctrl-C.",
            f"Choose a password for {ADMIN}, an administrator, by this link, once:",
            "",
            make_link(config.page_url, token),
            "",
            f"The API is at {config.own_url}/docs, its key: {read_first_key()}",
        ]
    )


def _add_people(caller: _Caller, people: list[Person]) -> None:
    """Import people, and add templates, a saved audience, prices and opt-outs."""
    _say(f"{len(people):,} made-up people are imported.")
    options = {"check_numbers": False, "types": {"visits": "number"}}
    made = caller.ask("POST", "/api/subscribers/imports", options)
    path = f"/api/subscribers/imports/{made['import_id']}"
    caller.ask("PUT", f"{path}/file", _write_csv(people))
    _wait_for(lambda: caller.ask("GET", path)["status"] == "complete")
    for name, texts in _TEMPLATES.items():
        body = {"name": name, "texts": texts, "default_language": "en"}
        caller.ask("POST", "/api/templates", body)
    caller.ask("PUT", "/api/prices", {"currency": "EUR", "prices": _PRICES})
    caller.ask("POST", "/api/audiences", {"name": "regulars", "audience": _REGULARS})
    for person in people[: len(people) // 60]:
        note = {"phone": person["phone"], "note": "Asked at the counter"}
        caller.ask("POST", "/api/suppressions", note)


def make_people(count: int) -> Iterator[Person]:
    """Yield people of several countries, always the same."""
    chance = random.Random(_SEED)  # noqa: S311  # made-up people, not secrets
    shares = [country.share for country in _COUNTRIES]
    known: set[str] = set()
    while len(known) < count:
        country = chance.choices(_COUNTRIES, shares)[0]
        phone = _choose_number(country, chance)
        if phone in known:
            continue
        known.add(phone)
        tags = ["customers"]
        tags += ["members"] if chance.random() < 0.06 else []
        tags += ["crew"] if len(known) % 50 == 0 and len(known) <= 1_000 else []
        agreed = chance.random() < 0.9
        yield {
            "phone": phone,
            "first_name": chance.choice(country.first_names.split()),
            "last_name": chance.choice(country.last_names.split()),
            "language": country.language,
            "tags": ",".join(tags),
            "city": chance.choice(_CITIES),
            "visits": chance.randrange(40),
            "consent_wording": "Yes, text me offers." if agreed else "",
            "consent_source": "https://kayaks.example/join" if agreed else "",
            "consent_at": "2026-03-01T08:30:00Z" if agreed else "",
        }


def _choose_number(country: _Country, chance: random.Random) -> str:
    if country.digits:
        return f"{country.prefix}{chance.randrange(10**country.digits):0{country.digits}}"
    ordinary = 100 - sum(_FATES.values())
    fate = chance.choices([*_FATES, None], [*_FATES.values(), ordinary])[0]
    ending = chance.randrange(23, 100) if fate is None else fate
    return f"+1{chance.randrange(201, 990)}55501{ending:02}"


def _write_csv(people: list[Person]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(people[0]))
    writer.writeheader()
    writer.writerows(people)
    return file.getvalue().encode()


def _add_broadcasts(caller: _Caller) -> None:
    """Add a broadcast that needs a decision, one that is finished, one that runs, one for later."""
    chances = {"Failed": 0.012, "Expired": 0.006, "Unknown": 0.004}
    caller.control("PATCH", "settings", {"outcome_probabilities": chances, "seed": _SEED})
    cut = {"on": "POST /batches", "do": "cut", "body_has": "harbour is closed"}
    caller.control("POST", "faults", cut)
    closed = caller.send("Sunday the harbour is closed: no shift.", "crew", reference="Crew")
    _say("One broadcast is sent to its end; that takes a while.")
    members = "Hi ${first_name}, the members' evening starts at 18:00 at the harbour."
    finished = caller.send(members, "members", reference="Members' evening")
    _wait_for(lambda: _show(caller, finished)["all_reported_at"])
    _answer(caller, finished)
    _wait_for(lambda: _show(caller, closed)["status"] == "complete_needs_attention")
    today = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0)
    caller.send(
        "Hi ${first_name}, kayaks are back in stock: 20 per cent off until Friday.",
        "customers",
        category="marketing",
        reference="Back in stock",
        send_at=(today + timedelta(days=1)).isoformat(),
    )
    season = "Hi ${first_name}, the season ends on Sunday. Is your locker empty by then?"
    caller.send(season, "customers", reference="End of the season")


def _answer(caller: _Caller, broadcast_id: str) -> None:
    """Have people of a broadcast answer it, each with a text."""
    path = f"/api/broadcasts/{broadcast_id}/messages?status=delivered&limit={len(_REPLIES)}"
    messages = caller.ask("GET", path)["messages"]
    for message, reply in zip(messages, _REPLIES, strict=False):
        text = {"from": message["recipient"], "body": reply}
        caller.control("POST", "inbounds", text)


def _show(caller: _Caller, broadcast_id: str) -> Any:
    return caller.ask("GET", f"/api/broadcasts/{broadcast_id}")


def _wait_for(is_done: Callable[[], Any]) -> None:
    """Wait until something is done.  Raises DemoFailed if it takes too long."""
    deadline = time.monotonic() + _WITHIN_S
    while not is_done():
        if time.monotonic() > deadline:
            raise DemoFailed("the service is too slow on this machine")
        time.sleep(0.2)


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run())
