"""The documents name files and commands that exist, and link to documents and headings that do."""

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from app.cli import _COMMANDS

ROOT = Path(__file__).parents[1]
_DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
_FILE = re.compile(r"(?<![\w/.*])((?:[a-z_]+/)+[a-z_0-9]+\.py|[a-z_]+\.py)\b")
_PACKAGE = re.compile(r"`((?:app/)?[a-z_]+(?:/[a-z_]+)*)/?`")
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
# `circuit show`, as in the runbook, or after `flask` with its application.
_COMMAND = re.compile(rf"(?:`(?:… )?|--app wsgi )((?:{'|'.join(_COMMANDS)}) [a-z][^`\n#|>]*)")
_WITH_PATHS = [
    ROOT / name for name in ("CONTRIBUTING.md", "docs/architecture.md", "docs/security.md")
]


@pytest.mark.parametrize("document", _WITH_PATHS, ids=lambda path: path.name)
def test_every_file_and_package_that_a_document_names_exists(document):
    text = document.read_text("utf-8")
    paths = _FILE.findall(text) + [path for path in _PACKAGE.findall(text) if "/" in path]

    assert [path for path in paths if not any(map(Path.exists, _list_places(path)))] == []


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_a_blank_line_follows_every_heading(document):
    text = re.sub(r"(?ms)^```.*?^```$", "", document.read_text("utf-8"))

    assert re.findall(r"(?m)^#+ .*\n(?=[^\n])", text) == []


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_document_and_a_heading(document):
    broken = []
    for path, heading in _LINK.findall(document.read_text("utf-8")):
        target = document.parent / path if path else document
        if not target.exists() or (heading and heading not in _list_anchors(target)):
            broken.append(f"{path}#{heading}")

    assert broken == []


# The changelog has names of earlier versions.
@pytest.mark.parametrize("document", _DOCUMENTS[1:], ids=lambda path: path.name)
def test_every_command_that_a_document_names_exists_with_its_options(document):
    lines = {*_COMMAND.findall(document.read_text("utf-8"))} - {"audit log sealed"}  # a log line

    assert [line for line in lines if not _is_command(line.split())] == []


def _is_command(words):
    name, *rest = words
    module = import_module(f"app.cli.{_COMMANDS[name][0]}")
    command = getattr(module, name)
    if isinstance(command, click.Group):
        command = command.commands.get(rest[0])
    options = {option for each in getattr(command, "params", ()) for option in each.opts}
    return bool(command) and {word for word in rest if word.startswith("--")} <= options


def _list_places(path):
    return [ROOT / path, ROOT / "app" / path]


def _list_anchors(document):
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
