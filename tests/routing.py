"""URL rules compiled once for all apps of a process, which is half of the work of making one."""

from collections.abc import Callable
from typing import Any

from werkzeug.routing import Rule

_compile = Rule._compile_builder
_compiled: dict[Any, Callable[..., tuple[str, str]]] = {}


def share_compiled_rules() -> None:
    """Let rules of the same text share what builds their addresses."""
    Rule._compile_builder = _compile_once  # type: ignore[method-assign]


def _compile_once(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
    key = rule.rule, tuple(rule._trace), append_unknown, repr(rule.defaults)
    if key not in _compiled:
        _compiled[key] = _compile(rule, append_unknown)
    return _compiled[key]
