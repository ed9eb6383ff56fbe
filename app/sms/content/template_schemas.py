"""Stored texts as JSON: what may be stored, and what is answered."""

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from app.http.fields import Cursor, reject_untransportable
from app.sms.content.placeholders import (
    MAX_TEXT_CHARACTERS,
    PlaceholderError,
    check_syntax,
    find_placeholders,
)
from app.sms.content.templates import TEMPLATE_NAME, Template, TemplateTexts
from app.subscribers.attributes import normalise_language
from app.subscribers.fields import LanguageTag

MAX_LANGUAGES = 50
_MAX_SHOWN = 64


class TranslationTable(fields.Dict):
    """`{language: text}`; refused with what is wrong with each, languages in their usual case."""

    def __init__(self, **kwargs: Any) -> None:
        text = fields.String(validate=validate.Length(1, MAX_TEXT_CHARACTERS))
        super().__init__(keys=fields.String(), values=text, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValidationError("Not an object of texts by language.")
        if not 1 <= len(value) <= MAX_LANGUAGES:
            raise ValidationError(f"Not 1 to {MAX_LANGUAGES} texts.")
        texts: dict[str, str] = {}
        faults: dict[str, list[str]] = {}
        for given, text in value.items():
            language = normalise_language(given) or ""
            fault = "Given twice." if language in texts else _find_fault(language, text)
            if fault:
                faults[given[:_MAX_SHOWN]] = [fault]
            else:
                texts[language] = text.strip()
        if faults:
            raise ValidationError(faults)
        return texts


def _find_fault(language: str, text: Any) -> str | None:
    if not language:
        return "Not a language such as sv, pt-BR or zh-Hans."
    if not isinstance(text, str):
        return "Not text."
    if not 1 <= len(text.strip()) <= MAX_TEXT_CHARACTERS:
        return f"Not 1 to {MAX_TEXT_CHARACTERS} characters."
    try:
        reject_untransportable(text)
        check_syntax(text)
    except ValidationError as e:
        return str(e.messages[0])
    except PlaceholderError as e:
        return f"{e}."
    return None


class TemplateTextsSchema(Schema):
    """What a template says.  `load` gives a Wording."""

    texts = TranslationTable(
        required=True,
        metadata={
            "description": "By language, each with the same `${name}` placeholders.",
            "example": {"en": "Hi ${first_name}", "sv": "Hej ${first_name}"},
        },
    )
    default_language = LanguageTag(
        required=True,
        metadata={"description": "Whose text goes to those who have none in theirs."},
    )

    @post_load
    def make_wording(self, data: dict[str, Any], **_: Any) -> Any:
        """The wording, its texts alike in their placeholders."""
        texts, language = data["texts"], data["default_language"]
        if language not in texts:
            raise ValidationError("There is no text in it.", "default_language")
        wanted = set(find_placeholders(texts[language]))
        faults = {
            other: [_tell_difference(wanted, set(find_placeholders(text)), language)]
            for other, text in texts.items()
            if set(find_placeholders(text)) != wanted
        }
        if faults:
            raise ValidationError(faults, "texts")
        return TemplateTexts(texts=texts, default_language=language)


def _tell_difference(wanted: set[str], found: set[str], language: str) -> str:
    names = ", ".join(f"${{{name}}}" for name in sorted(wanted ^ found))
    return f"Not the placeholders of the text in {language}: {names} stands in one of them only."


class TemplateSchema(TemplateTextsSchema):
    """A template to be made.  `load` gives its name and its Wording."""

    name = fields.String(
        required=True,
        validate=validate.Regexp(
            re.compile(TEMPLATE_NAME.pattern + r"\Z"),
            error="Not 1 to 64 letters A-Z, digits, '.', '_' or '-', the first a letter or digit.",
        ),
        metadata={"example": "welcome", "maxLength": 64},
    )

    @post_load
    def make_wording(self, data: dict[str, Any], **_: Any) -> Any:
        """The name, and the wording."""
        return {"name": data["name"], "wording": super().make_wording(data)}


class TemplateQuerySchema(Schema):
    """Which templates to list."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)


class TemplateViewSchema(Schema):
    """One version of a template."""

    name = fields.String(required=True)
    version = fields.Integer(required=True)
    newest_version = fields.Integer(required=True)
    texts = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    default_language = fields.String(required=True)
    placeholders = fields.List(fields.String(), required=True)
    created_at = fields.AwareDateTime(required=True)
    client = fields.String(required=True, metadata={"description": "Who wrote this version."})
    archived_at = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={"description": "Since when it is not sent anew; null while it is."},
    )


class TemplatePageSchema(Schema):
    """Templates in the order of their making, each in its newest version."""

    templates = fields.List(fields.Nested(TemplateViewSchema), required=True)
    cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Continues behind them; null at the end."},
    )


def show_template(template: Template) -> Mapping[str, Any]:
    """A version of a template as JSON."""
    return {
        "name": template.name,
        "version": template.version,
        "newest_version": template.newest,
        "texts": template.texts,
        "default_language": template.default_language,
        "placeholders": find_placeholders(template.texts[template.default_language]),
        "created_at": template.created_at,
        "client": template.client,
        "archived_at": template.archived_at,
    }
