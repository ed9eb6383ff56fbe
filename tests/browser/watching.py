"""A service with workers, and a person who watches its pages."""

import json
import secrets
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import requests
from playwright.sync_api import Page

from app.accounts.roles import Role
from app.accounts.users import create_user
from app.clock import Clock
from app.db.engine import Database
from tests.factories import AUTH
from tests.processes import Service
from tests.sandbox_control import SandboxControl
from tests.web.visitor import PASSWORD


@dataclass
class Clarion:
    """A service with workers, its database, and its Sinch."""

    service: Service
    database_url: str
    sandbox: SandboxControl

    def invite(self, role: Role) -> str:
        """Return the address at which a new user chooses a password."""
        with closing(Database(self.database_url, pool_size=1)) as db:
            name = f"{role.value} {secrets.token_hex(4)}"
            token = create_user(db, Clock(), name, role, actor="tests")
        return f"{self.service.url}/invite/{token}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API.  Returns the answer's JSON."""
        url = self.service.url + path
        answer = requests.request(method, url, json=body, headers=AUTH, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    def hear(self, *callbacks: bytes) -> None:
        """Have people write texts, as the callbacks say."""
        for callback in callbacks:
            text = json.loads(callback)
            self.sandbox.text_from(f"+{text['from']}", text["body"])
        deadline = time.monotonic() + 60
        while len(self.service.get("/api/inbounds").json()["inbounds"]) < len(callbacks):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def wait_for_doubt(self, broadcast_id: str) -> str:
        """Wait until a batch of a broadcast needs a decision.  Returns the batch's reference."""
        deadline = time.monotonic() + 60
        while self.look(broadcast_id)["status"] != "complete_needs_attention":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        batches = self.service.get("/api/batches/attention").json()["batches"]
        return str(batches[0]["client_reference"])

    def look(self, broadcast_id: str) -> Any:
        """Return a broadcast as the API shows it."""
        return self.service.get(f"/api/broadcasts/{broadcast_id}").json()


# Chromium says so where a person has begun to type before the page was drawn: their focus stays.
_QUICK_HANDS = "Autofocus processing was blocked because a document already has a focused element."


def note_complaints(page: Page) -> list[str]:
    """Return the list of what a page complains of, which grows while the page is used."""
    complaints: list[str] = []

    def note(text: str) -> None:
        if text != _QUICK_HANDS:
            complaints.append(text)

    page.on("console", lambda message: note(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


@dataclass
class Watcher:
    """A person with a browser, and all that the browser complained of or asked other hosts for."""

    page: Page
    own_url: str
    complaints: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.complaints = note_complaints(self.page)
        self.page.on("request", lambda request: self._note_request(request.url))

    def _note_request(self, url: str) -> None:
        if not url.startswith((f"{self.own_url}/", "data:")):
            self.complaints.append(f"asked for {url}")

    def sign_in_from(self, invitation: str) -> None:
        """Choose a password by a link, which leads to the overview."""
        self.page.goto(invitation)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_label("The same password again").fill(PASSWORD)
        self.page.get_by_role("button", name="Keep this password and sign in").click()
        self.page.wait_for_url("**/overview")

    def read_ledger(self) -> tuple[dict[str, int], dict[str, int], int]:
        """Return the figures of the lines, of the lines below them, and the sum, at one moment."""
        self.page.locator(".ledger tfoot").wait_for()  # a page that was just opened may lack it
        lines, below, total = self.page.evaluate(_READ_LEDGER)
        return lines, below, total

    def read_countries(self) -> tuple[list[list[int]], list[int], int, int]:
        """Return what the countries say, at one moment.

        That is delivered and sent of each country and of all together, the deliveries that are
        missing in them, and those of the ledger.
        """
        rows, together, missing, delivered = self.page.evaluate(_READ_COUNTRIES)
        return rows, together, missing, delivered


_READ_LEDGER = """() => {
  const figure = (row) => Number(row.querySelector(".figures").textContent.replace(/\\D/g, ""));
  const lines = {}, below = {};
  for (const row of document.querySelectorAll(".ledger tbody tr")) {
    if (row.classList.contains("sub")) below[row.cells[1].textContent.trim()] = figure(row);
    else lines[row.cells[0].textContent.trim()] = figure(row);
  }
  return [lines, below, figure(document.querySelector(".ledger tfoot"))];
}"""
_READ_COUNTRIES = """() => {
  const number = (element) => Number(element?.textContent.replace(/\\D/g, "") ?? 0);
  const panel = document.querySelector("section[aria-labelledby=countries-title]");
  const read = (row) => row ? [number(row.cells[1]), number(row.cells[2])] : [0, 0];
  const rows = Array.from(panel?.querySelectorAll("tbody tr") ?? [], read);
  return [
    rows,
    read(panel?.querySelector("tfoot tr")),
    number(panel?.querySelector("p")),
    number(document.querySelector("#line-delivered, .ledger .figures")),
  ];
}"""
