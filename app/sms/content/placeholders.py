"""Placeholders: check and fill personalised texts.  Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from app.subscribers.attributes import ATTRIBUTE

MAX_TEXT_CHARACTERS = 2_000
# Sinch's limit for a parameter's value.
MAX_VALUE_CHARACTERS = 160
# Different ones in one text, and names in the parameters of a request.
MAX_PLACEHOLDERS = 100
# The key of a placeholder's value for recipients without their own.
DEFAULT = "default"
# Subscriber fields that a text may contain, beside attributes.
COLUMNS = ("first_name", "last_name", "language")

# Name and length as Sinch documents them for message parameterization.
PARAMETER_NAME = re.compile(r"[A-Za-z0-9._-]{1,16}")
PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9._-]{1,16})\}")

# Placeholders as other programs write them; each quantifier is bounded.
_FOREIGN_PLACEHOLDER = re.compile(
    r"""
    (?<!\$) \{{1,3} [#/^&!]? \s{0,3} [^\W\d] [\w\ .|:'"-]{0,40} \}{1,3}  # {name}, {{ name }}
    | (?<!\$) \{ \d{0,2} \}                      # {}, {0}
    | \{ \$ \w{1,30} \} | \$ \( \w{1,30} \)       # {$name}, $(name)
    | \$ [a-z_] [a-z_] \w{0,30}                  # $name
    | %{1,2} [^\W\d] \w{1,30} %{1,2} (?!\w)      # %name%, %%name%%
    | % \( \w{1,30} \) s                         # %(name)s
    | \*\| [^\W\d] [\w:]{0,30} \|\*              # *|NAME|*
    | \[\[ [^\W\d] [\w\ ]{0,30} \]\]             # [[name]]
    | <{1,2} [^\W\d] [\w\ .]{0,30} >{1,2}        # <name>, <<name>>
    | \{% [^%\n]{1,60} %\} | <% [^%\n]{1,60} %>   # {% if a %}, <%= name %>
    | (?<!\d) %[sd] (?!\w) | %\d\$[sd]                    # %s, %1$s
    | % [a-z]{1,20} \. [a-z_]{1,20} %             # %recipient.name%
    | \#\# \w{1,30} \#\# | (?<!\w)__ [a-z]{1,30} __(?!\w)   # ##name##, __name__
    | (?<!\$) \{\{ \s? [a-z_.]{2,30} (?![\w.}\ |:])    # {{name
    | (?<![\w{.]) [a-z_.]{2,30} \}\}               # name}}
    | \[ (?i: (?:first|last|full|customer|your)? [ _]? (?:name|firstname|lastname) ) \]  # [Name]
    | \$ (?: FIRST_?NAME | LAST_?NAME | NAME | FNAME | LNAME ) (?!\w)                   # $NAME
    """,
    re.VERBOSE,
)

Parameters = Mapping[str, Mapping[str, str]]


class PlaceholderError(ValueError):
    """A text that cannot be filled for a recipient; the message says why and for whom."""


def check_syntax(text: str) -> None:
    """Raise PlaceholderError for a '${' that begins no placeholder, and for too many."""
    if len(find_placeholders(text)) > MAX_PLACEHOLDERS:
        raise PlaceholderError(f"it has more than {MAX_PLACEHOLDERS} different placeholders")
    if PLACEHOLDER.sub("", text).find("${") >= 0:
        raise PlaceholderError(
            "A '${' begins no placeholder: after it write a name of 1 to 16 letters, digits, '.', "
            "'-' or '_', without blanks, and '}', as in ${first_name}"
        )


def check_placeholders(text: str, parameters: Parameters, recipients: Sequence[str]) -> None:
    """Raise PlaceholderError unless every `${name}` has a value for every recipient."""
    check_syntax(text)
    for name in find_placeholders(text):
        values = parameters.get(name)
        if values is None:
            raise PlaceholderError(f"${{{name}}} has no value: give it in parameters")
        if DEFAULT in values:
            continue
        missing = next((number for number in recipients if number not in values), None)
        if missing is not None:
            raise PlaceholderError(f"${{{name}}} has no value for {missing} and no default")


def find_placeholders(text: str) -> list[str]:
    """Return the names of a text's placeholders, each once.

    >>> find_placeholders("Hi ${name}, it is ${day}, ${name}")
    ['name', 'day']
    """
    return list(dict.fromkeys(PLACEHOLDER.findall(text)))


def find_foreign_placeholders(texts: Iterable[str]) -> list[str]:
    """Return what other programs would fill in, each once: here it is sent as it is.

    >>> find_foreign_placeholders(["Hi {name}, ${name}, %city%"])
    ['{name}', '%city%']
    """
    found = (match[0] for text in texts for match in _FOREIGN_PLACEHOLDER.finditer(text))
    return list(dict.fromkeys(found))


def select_used(text: str, parameters: Parameters) -> Parameters:
    """Return the parameters that the text has a placeholder for."""
    return {name: parameters[name] for name in find_placeholders(text) if name in parameters}


def select_own(parameters: Parameters) -> Parameters:
    """Return the parameters with values of single recipients."""
    return {
        name: values for name, values in parameters.items() if len(values) > (DEFAULT in values)
    }


def collect_personal(own: Parameters) -> Collection[str]:
    """Return the recipients with a value of their own."""
    tables = list(own.values())
    return tables[0] if len(tables) == 1 else set[str]().union(*tables)


def fill_text(text: str, values: Mapping[str, str]) -> str:
    """Fill the placeholders of a text; a placeholder without a value stays.

    >>> fill_text("Hi ${name}, ${day}", {"name": "Ann"})
    'Hi Ann, ${day}'
    """
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def name_field(placeholder: str, fields: Mapping[str, str]) -> str:
    """Return the subscriber field that fills a placeholder: the given one, else by its own name.

    >>> name_field("first_name", {}), name_field("city", {}), name_field("n", {"n": "last_name"})
    ('first_name', 'attributes.city', 'last_name')
    """
    field = fields.get(placeholder, placeholder)
    return field if field in COLUMNS or field.startswith(ATTRIBUTE) else ATTRIBUTE + field


def read_value(subscriber: Any, field: str) -> str | None:
    """Return a subscriber's field as text; None without a usable value."""
    if field.startswith(ATTRIBUTE):
        return show_value((subscriber.attributes or {}).get(field.removeprefix(ATTRIBUTE)))
    return show_value(getattr(subscriber, field))


def show_value(value: Any) -> str | None:
    """Return a value as a text has it; None for one that it cannot have.

    >>> show_value(" Ann "), show_value(True), show_value(7), show_value("")
    ('Ann', 'true', '7', None)
    """
    if value is None:
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return text if 0 < len(text) <= MAX_VALUE_CHARACTERS else None
