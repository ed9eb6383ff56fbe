"""Commands of `flask`: context, operator, tables, and errors of one line."""

import errno
import getpass
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup, ScriptInfo
from sqlalchemy.exc import SQLAlchemyError

from app.csv_cells import DELIMITERS
from app.db.audit import write_audit
from app.db.schema import WrongDatabase
from app.errors import ClarionError
from app.http.fields import is_unicode
from app.logs import find_outage
from app.phone.e164 import is_country
from app.sms.context import Context, make_context
from app.subscribers.lists.reader import ENCODINGS

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
# The zone of all times that commands print.
TIME = "%Y-%m-%d %H:%M UTC"


class ServiceCommand(click.Command):
    """A command that ends with one line when the service refuses it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClarionError as e:
            raise click.ClickException(e.sentence) from e
        except WrongDatabase as e:
            raise click.ClickException(str(e)) from e
        except UnicodeEncodeError as e:
            if e.encoding == "utf-8":
                raise click.UsageError("an argument is not text in UTF-8") from e
            sentence = f"the output cannot be written in {e.encoding}: set PYTHONUTF8=1"
            raise click.ClickException(sentence) from e
        except OSError as e:
            if e.errno not in _CANNOT_WRITE:
                raise
            raise click.ClickException(f"the output cannot be written: {e.strerror}") from e
        except SQLAlchemyError as e:
            outage = find_outage(e)
            if outage is None:
                raise
            raise click.ClickException(": ".join(outage)) from e


def csv_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a CSV file's format to a command that writes one."""
    signs = click.Choice([*DELIMITERS])
    command = click.option(
        "--delimiter", default=",", type=signs, help="Sign between cells; ; for most of Europe."
    )(command)
    return click.option(
        "--spreadsheet", is_flag=True, help="For Excel: with a byte order mark, and safe numbers."
    )(command)


class ServiceGroup(AppGroup):
    """A group of such commands."""

    command_class = ServiceCommand


class _Country(click.ParamType[str]):
    """A country of ISO 3166-1 alpha-2."""

    name = "country"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_country(value.upper()):
            self.fail(f"{value!r} is not a country: give its two letters, such as SE", param, ctx)
        return value.upper()


class Note(click.ParamType[str]):
    """The reason of an operator, up to a number of characters."""

    name = "text"

    def __init__(self, characters: int) -> None:
        self._characters = characters

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        note = value.strip()
        if not 1 <= len(note) <= self._characters or not is_unicode(note):
            self.fail(f"give 1 to {self._characters} characters", param, ctx)
        return note


COUNTRY = _Country()
ENCODING = click.Choice(list(ENCODINGS))
FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def read_pairs(pairs: Iterable[str], *, option: str = "") -> dict[str, str]:
    """Return values by name from NAME=VALUE.  Raises UsageError, which names `option`."""
    read = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise click.UsageError(f"{option}{pair!r} does not read like NAME=VALUE")
        read[name.strip()] = value
    return read


def current_context() -> Context:
    """Return the context of the current app, whatever its database is."""
    extensions = current_app.extensions
    if "clarion" not in extensions:
        extensions["clarion"] = make_context(extensions["config"])
    ctx: Context = extensions["clarion"]
    return ctx


def verified_context() -> Context:
    """Return the context.  Raises WrongDatabase unless the database is migrated and ours."""
    ctx = current_context()
    ctx.require_own_database()
    return ctx


def name_operator() -> str:
    """Return the operator's name for the audit log, such as `cli:ann`."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def audit_export(subject: str) -> None:
    """Note in the audit log that the operator exports something, before it is read."""
    ctx = verified_context()
    with ctx.db.write() as tx:
        write_audit(tx, ctx.now(), name_operator(), "export", subject)


def name_program() -> str:
    """Return how this program was called, such as `.venv/bin/flask --app wsgi`, to paste."""
    root = click.get_current_context().find_root()
    program, *more = (root.info_name or "flask").split()
    used = sys.executable if more else sys.argv[0]
    if os.path.basename(used) == program and shutil.which(program) != os.path.abspath(used):
        program = used
    info = root.find_object(ScriptInfo)
    app = info.app_import_path if info else None
    return " ".join([program, *more, *(["--app", app] if app else [])])


def write_new_file(path: Path, pieces: Iterable[str]) -> None:
    """Write a file that does not exist.  Raises ClickException if it cannot be written."""
    try:
        # Half a character is written as JSON writes it, too.
        with path.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.writelines(pieces)
    except OSError as e:
        raise click.ClickException(f"{path}: {e.strerror}") from e


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows in columns below their headers, or `empty` if there are none."""
    lines = [[str(cell) for cell in row] for row in rows]
    if not lines:
        click.echo(empty)
        return
    widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
    for line in (headers, *lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def say_refusal(refusal: Mapping[str, Any]) -> str:
    """Return what Sinch answered to a broadcast that it refused."""
    text = str(refusal.get("text") or "no reason given")
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return f"Sinch says HTTP {refusal.get('status')} {refusal.get('code', '')}, {printable}"


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count_of(1, "batch"), count_of(2, "recipient"), count_of(0, "entry")
    ('1 batch', '2 recipients', '0 entries')
    """
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("ry"):
        return f"{count} {noun[:-1]}ies"
    return f"{count} {noun}{'es' if noun.endswith(('ch', 'sh')) else 's'}"
