"""Plain English in docstrings, comments, messages and documents: what a machine can check.

`python -m tests.test_language app/sms/dispatch` lists what is wrong in a folder.
"""

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_WORDS = re.compile(r"\b(nobody|somebody|whoever|so many|bears?|borne|stands)\b", re.IGNORECASE)
# A docstring's first line says what the function does, or what the module, class or property is.
_FIRST = re.compile(r"(What|Who|Whom|Whose|Which|Whether|Where|When|How|As|The same|Of)\b")
_SUBJECT = re.compile(r"(?:^|[.:] +)(The same|Who|Whoever|Nobody|Somebody)\b")
_DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".env.example", "setup.cfg")
_SKIPPED = ("app/migrations/versions", "app/keywords/languages")


def find_faults(path: Path) -> Iterator[str]:
    """Yield each fault of a file as `path:line: what is wrong`."""
    name, text = path.relative_to(ROOT), path.read_text("utf-8")
    for line, said in _list_prose(path, text):
        for word in _WORDS.findall(said):
            yield f"{name}:{line}: the word {word!r}"
        if _SUBJECT.search(said):
            yield f"{name}:{line}: a sentence that begins with {_SUBJECT.search(said)[1]!r}"
    if path.suffix == ".py":
        for line, first in _list_first_lines(text):
            if _FIRST.match(first):
                yield f"{name}:{line}: a docstring that begins with {first.split()[0]!r}"


def _list_prose(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that people read: comments and strings of Python, all of a document."""
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for offset, line in enumerate(token.string.splitlines()):
                if not line.lstrip().startswith((">>>", "...")):
                    yield token.start[0] + offset, line.strip("\"'# ")


def _list_first_lines(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "lineno", 1), docstring.splitlines()[0]


def list_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(ROOT))
        if path.suffix in (".py", ".md", ".html", ".js", ".ini") and not name.startswith(_SKIPPED):
            yield path


FOLDERS = sorted(
    {str(path.parent.relative_to(ROOT)) for path in list_files(ROOT / "app")} | {"docs"}
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_written_in_plain_english(folder):
    files = [
        path for path in list_files(ROOT / folder) if str(path.parent.relative_to(ROOT)) == folder
    ]

    assert [fault for path in files for fault in find_faults(path)] == []


def test_the_documents_at_the_top_are_written_in_plain_english():
    files = [ROOT / name for name in _DOCUMENTS]

    assert [fault for path in files for fault in find_faults(path)] == []


def test_a_class_name_is_the_name_of_one_class():
    modules = defaultdict(list)
    for path in list_files(ROOT / "app"):
        if path.suffix == ".py" and "sandbox" not in path.parts:
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    modules[node.name].append(str(path.relative_to(ROOT)))

    assert {name: where for name, where in modules.items() if len(where) > 1} == {}


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        target = (ROOT / argument).resolve()
        for found in [target] if target.is_file() else list_files(target):
            sys.stdout.writelines(f"{fault}\n" for fault in find_faults(found))
