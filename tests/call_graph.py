"""What a function can reach: the functions of `app` that it calls, those that they call, and on.

Read from the bytecode: names of the module and attributes of imported modules.  A call through an
object is not seen, so that a deed is written as functions, as all of ours are.
"""

import dis
import inspect
from collections.abc import Iterator
from functools import cache, partial
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import Any


def find_reached(function: Any) -> set[FunctionType]:
    """Return the functions of `app` that a call of this one may run; decorators are left out."""
    reached: set[FunctionType] = set()
    waiting = [inspect.unwrap(function)]
    while waiting:
        found = waiting.pop()
        if found not in reached:
            reached.add(found)
            waiting.extend(_find_called(found))
    return reached


def find_constants(function: FunctionType) -> set[object]:
    """Return the constants in a function's own code, such as the names of its headers."""
    return {
        constant
        for code in _nest(function.__code__)
        for constant in code.co_consts
        if isinstance(constant, str)
    }


@cache
def _find_called(function: FunctionType) -> list[FunctionType]:
    return [
        called
        for code in _nest(function.__code__)
        for value in _find_used(code, function.__globals__)
        for called in _find_functions(value)
    ]


def _nest(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nest(constant)


def _find_used(code: CodeType, names: dict[str, Any]) -> Iterator[object]:
    """Yield what the code names: globals, attributes of modules, and its own imports."""
    holder: object = None
    for step in dis.get_instructions(code):
        if isinstance(holder, ModuleType) and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            yield getattr(holder, step.argval, None)
        if step.opname == "IMPORT_FROM" and isinstance(holder, ModuleType):
            yield getattr(holder, step.argval, None)
        elif step.opname == "IMPORT_NAME":
            holder = import_module(step.argval) if step.argval.startswith("app.") else None
        elif step.opname != "STORE_FAST":
            holder = names.get(step.argval) if step.opname == "LOAD_GLOBAL" else None
            yield holder


def _find_functions(value: object) -> Iterator[FunctionType]:
    """Yield the functions in a value: itself, those of a class, or those of a table of them."""
    if isinstance(value, partial):
        yield from _find_functions(value.func)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _find_functions(item)
    elif isinstance(value, dict):
        yield from _find_functions([*value.values()])
    elif isinstance(value, type) and value.__module__.startswith("app."):
        methods = [getattr(method, "__func__", method) for method in vars(value).values()]
        yield from (method for method in methods if isinstance(method, FunctionType))
    elif isinstance(value, FunctionType) and value.__module__.startswith("app."):
        yield inspect.unwrap(value)
