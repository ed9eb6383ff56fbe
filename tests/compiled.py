"""What is compiled once for all apps of a test run, not for each: URL rules and templates."""

from collections.abc import Callable
from typing import Any

from flask import Flask
from jinja2 import FileSystemBytecodeCache
from werkzeug.routing import Rule

from tests.shared import open_folder

_compile = Rule._compile_builder
_compiled: dict[Any, Callable[..., tuple[str, str]]] = {}


def share_compiled() -> None:
    """Let all apps of this process share rules, and those of all processes templates.

    Rules are half of the work of making an app; all templates take a second.
    """
    Rule._compile_builder = _compile_once  # type: ignore[method-assign]
    Flask.jinja_options = {"bytecode_cache": FileSystemBytecodeCache(str(open_folder()))}


def _compile_once(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
    key = rule.rule, tuple(rule._trace), append_unknown, repr(rule.defaults)
    if key not in _compiled:
        _compiled[key] = _compile(rule, append_unknown)
    return _compiled[key]
