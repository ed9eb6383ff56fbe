"""Every page of a service, from its routes: a new page is tested without a word about it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Flask
from werkzeug.routing import IntegerConverter, Rule

from app.accounts.roles import Role
from app.auth import PAGE, SCOPE_MARK
from app.ids import make_id
from app.web.guard import ROLE_MARK

_NO_ID = make_id(datetime(2020, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class PageRoute:
    """A page or a form: its rule, its method, and the role it requires; None for open pages."""

    rule: Rule
    method: str
    role: Role | None

    def __str__(self) -> str:
        return f"{self.method} {self.rule.rule}"

    def address(self, values: Mapping[str, object] | None = None) -> str:
        """Return its path; an argument without a value gets one that names nothing."""
        given = dict(values or {})
        in_path = self.rule._converters
        for name, converter in in_path.items():
            given.setdefault(name, 1 if isinstance(converter, IntegerConverter) else _NO_ID)
        built = self.rule.build({name: given[name] for name in in_path})
        assert built, self
        return built[1]


def list_routes(service: Flask) -> Iterator[PageRoute]:
    """Yield each page and each form."""
    for rule in service.url_map.iter_rules():
        view = service.view_functions[rule.endpoint]
        if getattr(view, SCOPE_MARK, None) != PAGE:
            continue
        role = getattr(view, ROLE_MARK, None)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield PageRoute(rule, method, role)


def list_pages(service: Flask) -> list[PageRoute]:
    """Return each page that is read, forms left out."""
    return [route for route in list_routes(service) if route.method == "GET"]
