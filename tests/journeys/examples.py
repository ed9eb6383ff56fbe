"""Examples in documents: calls with their answers, and the comparison with what is shown.

In what is shown `…` stands for what differs at each call, and for the rest of an object, list or
file.  A word that ends in `…` is a name: the same word is the same value, in later calls too.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_BLOCK = re.compile(r"^```http\n(.*?)\n\n(\d{3})\n(.*?)```$", re.S | re.M)
_CURL = re.compile(
    r"^ +curl -X (\w+) http://[^/\s]+(\S+) \\\n.*?-d '([^']+)'\n\n((?: {4}[^\n]*\n)+)", re.S | re.M
)
_HEADER = re.compile(r"([A-Z][A-Za-z-]+): (.+)")
_NAME = re.compile(r"[\w-]+…")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+…")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]…]')


@dataclass(frozen=True)
class Example:
    """A call as a document shows it, with the status and body of its answer."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int | None
    answer: str

    @property
    def is_question(self) -> bool:
        return self.method == "GET" or self.path.endswith("/search")


def list_examples(document: str) -> list[Example]:
    """List what a document shows, in its order.  A call with curl shows no status."""
    found = [(match.start(), _read_block(*match.groups())) for match in _BLOCK.finditer(document)]
    for match in _CURL.finditer(document):
        method, path, body, answer = match.groups()
        found.append((match.start(), Example(method, path, {}, body, None, answer)))
    return [example for _, example in sorted(found, key=lambda pair: pair[0])]


def _read_block(call: str, status: str, answer: str) -> Example:
    first, *rest = call.split("\n")
    method, path = first.split(" ")
    headers = {}
    while rest and (match := _HEADER.fullmatch(rest[0])):
        headers[match[1]] = match[2]
        del rest[0]
    return Example(method, path, headers, "\n".join(rest), int(status), answer)


@dataclass
class Names:
    """Values by the names that a document gives them."""

    values: dict[str, str] = field(default_factory=dict)

    def fill(self, text: str) -> str:
        """Replace each name in a call by its value."""
        return _NAME.sub(lambda match: self.values.get(match[0], match[0]), text)

    def compare(self, shown: Any, found: Any, where: str = "") -> list[str]:
        """List what is not as shown."""
        if isinstance(shown, dict) and isinstance(found, dict):
            return self._compare_objects(shown, found, where)
        if isinstance(shown, list) and isinstance(found, list):
            return self._compare_lists(shown, found, where)
        same = type(shown) is type(found)
        if isinstance(shown, str) and "…" in shown and isinstance(found, str):
            same = self._fits(shown, found)
        else:
            same = same and shown == found
        return [] if same else [f"{where}: {found!r} is not {shown!r}"]

    def _compare_objects(self, shown: Any, found: Any, where: str) -> list[str]:
        keys = set(shown) - {"…"}
        surplus = set() if "…" in shown else set(found) - keys
        differences = [f"{where}.{key} is shown nowhere" for key in sorted(surplus)]
        for key in (key for key in shown if key != "…"):
            if key in found:
                differences += self.compare(shown[key], found[key], f"{where}.{key}")
            else:
                differences.append(f"{where}.{key} is not there")
        return differences

    def _compare_lists(self, shown: Any, found: Any, where: str) -> list[str]:
        is_cut = shown[-1:] == ["…"]
        items = shown[:-1] if is_cut else shown
        if len(found) < len(items) or (len(found) > len(items) and not is_cut):
            return [f"{where} has {len(found)} items"]
        pairs = enumerate(zip(items, found, strict=False))
        return [
            line
            for index, (item, other) in pairs
            for line in self.compare(item, other, f"{where}[{index}]")
        ]

    def _fits(self, shown: str, found: str) -> bool:
        if _TIME.fullmatch(shown):
            return datetime.fromisoformat(found).tzinfo is not None
        if _NAME.fullmatch(shown):
            return self.values.setdefault(shown, found) == found
        pattern = re.escape(self.fill(shown)).replace("…", ".*")
        return re.fullmatch(pattern, found, re.S) is not None


def read_shown(text: str) -> Any:
    """Read an answer as it is shown: JSON with `…` in objects and lists, or lines of a file."""
    if not text.lstrip().startswith("{"):
        return text.splitlines()
    containers: list[str] = []

    def write(match: re.Match[str]) -> str:
        token = match[0]
        if token in "{[":
            containers.append(token)
        elif token in "}]":
            containers.pop()
        elif token == "…":
            return '"…": null' if containers[-1] == "{" else '"…"'
        return token

    return json.loads(_TOKEN.sub(write, text))
