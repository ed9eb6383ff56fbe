"""Marshmallow fields for the values of subscribers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, validate

from app.http.fields import UtcDateTime, reject_untransportable
from app.phone.e164 import is_country
from app.subscribers.attributes import (
    FIRST_YEAR,
    MAX_ATTRIBUTE_CHARACTERS,
    MAX_ATTRIBUTES,
    MAX_NAME_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
    find_attribute_error,
    is_time_zone,
    normalise_language,
    normalise_tag,
)

MAX_FILTERS = 10
_MAX_SHOWN = 64


class _DescribedString(fields.String):
    """A string whose class describes it in the API document; its `metadata` override that."""

    DESCRIPTION: ClassVar[Mapping[str, Any]]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={**self.DESCRIPTION, **kwargs.pop("metadata", {})}, **kwargs)


class TagName(_DescribedString):
    """A tag in its normal form."""

    DESCRIPTION: ClassVar = {"maxLength": MAX_TAG_CHARACTERS, "example": "customers"}
    KIND: ClassVar = "a tag"

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        tag = normalise_tag(super()._deserialize(value, *args, **kwargs))
        if tag is None:
            raise ValidationError(
                f"Not {self.KIND}: 1 to {MAX_TAG_CHARACTERS} letters, digits, blanks, '.', '_', "
                "'-' or ':', one of them a letter or digit."
            )
        return tag


class AudienceName(TagName):
    """A name of a saved audience, in the normal form of tags."""

    DESCRIPTION: ClassVar = {"maxLength": MAX_TAG_CHARACTERS, "example": "regulars of Lund"}
    KIND: ClassVar = "a name"


class TagList(fields.List[Any]):
    """Distinct tags in the order given."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(TagName(), validate=validate.Length(max=MAX_TAGS), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return list(dict.fromkeys(super()._deserialize(value, *args, **kwargs)))


class LanguageTag(_DescribedString):
    """A language tag in its usual case."""

    DESCRIPTION: ClassVar = {
        "description": "A short tag of RFC 5646: language, script, region.",
        "example": "pt-BR",
        "maxLength": 16,
    }

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        language = normalise_language(super()._deserialize(value, *args, **kwargs))
        if language is None:
            raise ValidationError("Not a language such as sv, pt-BR or zh-Hans.")
        return language


class TimeZoneName(_DescribedString):
    """A name of the IANA time zone database."""

    DESCRIPTION: ClassVar = {"example": "Europe/Stockholm", "maxLength": 64}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        name = str(super()._deserialize(value, *args, **kwargs)).strip()
        if not is_time_zone(name):
            raise ValidationError("Not a time zone such as Europe/Stockholm.")
        return name


class CountryCode(_DescribedString):
    """A country of ISO 3166-1 alpha-2."""

    DESCRIPTION: ClassVar = {"example": "SE", "pattern": "^[A-Z]{2}$"}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        country = str(super()._deserialize(value, *args, **kwargs))
        if not is_country(country):
            raise ValidationError("Not the two letters of a country, such as SE.")
        return country


class PersonName(_DescribedString):
    """A name without blanks around it; None for an empty one."""

    DESCRIPTION: ClassVar = {"maxLength": MAX_NAME_CHARACTERS, "example": "Ann"}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        name = str(super()._deserialize(value, *args, **kwargs)).strip()
        reject_untransportable(name)
        if len(name) > MAX_NAME_CHARACTERS:
            raise ValidationError(f"Longer than {MAX_NAME_CHARACTERS} characters.")
        return name or None


class AttributeFilters(fields.List[Any]):
    """Filters by attribute, each as `name:value`."""

    def __init__(self, **kwargs: Any) -> None:
        described = {
            "description": "An attribute and the value it is to have; may come several times.",
            "example": ["city:Berlin"],
        }
        described |= kwargs.pop("metadata", {})
        length = validate.Length(max=MAX_FILTERS)
        super().__init__(fields.String(), validate=length, metadata=described, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return [_parse_filter(str(item)) for item in super()._deserialize(value, *args, **kwargs)]


def _parse_filter(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or find_attribute_error(name, value):
        raise ValidationError("Not the name of an attribute, a colon and its value.")
    return name, value


class TimeOfPerson(UtcDateTime):
    """A time at which a person did something: not before texts existed."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        time = super()._deserialize(value)
        if time.year < FIRST_YEAR:
            raise ValidationError(f"Before {FIRST_YEAR}, when there were no texts.")
        return time


class AttributeTable(fields.Dict):
    """A flat object of texts, numbers, booleans and nulls."""

    def __init__(self, **kwargs: Any) -> None:
        described = {
            "description": "A flat object: text of at most 500 characters, numbers, true, false; "
            "null takes an attribute away.",
            "example": {"city": "Berlin", "visits": 7, "vip": True},
            "maxProperties": MAX_ATTRIBUTES,
            "additionalProperties": {
                "nullable": True,
                "anyOf": [
                    {"type": "string", "maxLength": MAX_ATTRIBUTE_CHARACTERS},
                    {"type": "number"},
                    {"type": "boolean"},
                ],
            },
        }
        super().__init__(metadata=described | kwargs.pop("metadata", {}), **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError("Not an object of names.")
        if len(value) > MAX_ATTRIBUTES:
            raise ValidationError(f"More than {MAX_ATTRIBUTES} attributes.")
        found = {name: find_attribute_error(name, item) for name, item in value.items()}
        errors = {name[:_MAX_SHOWN]: [error] for name, error in found.items() if error}
        if errors:
            raise ValidationError(errors)
        return dict(value)
