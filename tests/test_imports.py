"""Libraries that some packages alone may import, the factory that none may; files in a folder."""

import ast
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "app"
MOST_FILES = 14
FLASK_FILES = {"routes.py", "template_routes.py", "price_routes.py", "current.py"}
ALLOWED = {
    "flask": ("factory.py", "http/", "auth.py", "rate_limit.py", "errors.py", "health.py"),
    "celery": ("worker/",),
    "requests": ("sinch/", "webhooks/outgoing/", "sandbox/"),
}
ALLOWED["flask"] += ("logs.py", "cli/", "sandbox/", "web/", "worker/start.py")


@cache
def find_imports(path: Path) -> Sequence[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


def may_import(library: str, path: str) -> bool:
    return path.startswith(ALLOWED[library]) or (
        library == "flask" and path.rpartition("/")[2] in FLASK_FILES
    )


@pytest.mark.parametrize("library", ALLOWED)
def test_a_library_is_imported_only_where_it_belongs(library):
    importing = {
        str(path.relative_to(APP))
        for path in APP.rglob("*.py")
        for module in find_imports(path)
        if module.split(".")[0] == library
    }

    assert {path for path in importing if may_import(library, path)}
    assert not [path for path in importing if not may_import(library, path)]


def test_no_module_imports_the_factory():
    assert not [path for path in APP.rglob("*.py") if "app" in find_imports(path)]


def test_no_folder_has_more_files_than_a_person_looks_through():
    folders = Counter(
        path.parent.relative_to(APP).as_posix()
        for path in APP.rglob("*")
        if path.is_file() and not {"__pycache__", "versions"} & set(path.parts)
    )

    assert {folder: files for folder, files in folders.items() if files > MOST_FILES} == {}
