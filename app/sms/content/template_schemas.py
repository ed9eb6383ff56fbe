"""Schemas of templates: request and response."""

import re
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate
from sqlalchemy import Row

from app.http.fields import Cursor, next_cursor, nullable, reject_untransportable, required
from app.sms.content.placeholders import (
    MAX_TEXT_CHARACTERS,
    PlaceholderError,
    check_syntax,
    find_placeholders,
)
from app.sms.content.templates import TEMPLATE_NAME, TemplateTexts
from app.subscribers.attributes import normalise_language
from app.subscribers.fields import LanguageTag

MAX_LANGUAGES = 50
_MAX_SHOWN = 64


class TranslationTable(fields.Dict):
    """Texts by language.  Loads the language tags in their usual case."""

    def __init__(self, **kwargs: Any) -> None:
        text = fields.String(validate=validate.Length(1, MAX_TEXT_CHARACTERS))
        super().__init__(keys=fields.String(), values=text, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValidationError("Not an object of texts by language.")
        if not 1 <= len(value) <= MAX_LANGUAGES:
            raise ValidationError(f"Not 1 to {MAX_LANGUAGES} texts.")
        texts: dict[str, str] = {}
        errors: dict[str, list[str]] = {}
        for key, text in value.items():
            language = normalise_language(key) or ""
            error = "Given twice." if language in texts else _find_error(language, text)
            if error:
                errors[key[:_MAX_SHOWN]] = [error]
            else:
                texts[language] = text.strip()
        if errors:
            raise ValidationError(errors)
        return texts


def _find_error(language: str, text: Any) -> str | None:
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
    """The texts of a template.  Loads TemplateTexts."""

    texts = TranslationTable(
        **required(
            "Texts by language, all with the same `${name}` placeholders.",
            example={"en": "Hi ${first_name}", "sv": "Hej ${first_name}"},
        )
    )
    default_language = LanguageTag(
        **required("The language for recipients whose own the template does not have.")
    )

    @post_load
    def make_texts(self, data: dict[str, Any], **_: Any) -> Any:
        """Return TemplateTexts.  Raises ValidationError if the placeholders differ."""
        texts, language = data["texts"], data["default_language"]
        if language not in texts:
            raise ValidationError("There is no text in this language.", "default_language")
        expected = set(find_placeholders(texts[language]))
        errors = {
            other: [_describe_difference(expected, set(find_placeholders(text)), language)]
            for other, text in texts.items()
            if set(find_placeholders(text)) != expected
        }
        if errors:
            raise ValidationError(errors, "texts")
        return TemplateTexts(texts=texts, default_language=language)


def _describe_difference(expected: set[str], placeholders: set[str], language: str) -> str:
    names = ", ".join(f"${{{name}}}" for name in sorted(expected ^ placeholders))
    return f"Not the placeholders of the text in {language}: {names} is in only one of them."


class TemplateSchema(TemplateTextsSchema):
    """A new template.  Loads its name and TemplateTexts."""

    name = fields.String(
        required=True,
        validate=validate.Regexp(
            re.compile(TEMPLATE_NAME.pattern + r"\Z"),
            error="Not 1 to 64 letters A-Z, digits, '.', '_' or '-', the first a letter or digit.",
        ),
        metadata={"example": "welcome", "maxLength": 64},
    )

    @post_load
    def make_texts(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the arguments of create_template."""
        return {"name": data["name"], "content": super().make_texts(data)}


class TemplateQuerySchema(Schema):
    """Query parameters of the list of templates."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)


class TemplateViewSchema(Schema):
    """One version of a template."""

    name = fields.String(required=True)
    version = fields.Integer(required=True)
    newest_version = fields.Integer(required=True, attribute="newest")
    texts = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    default_language = fields.String(required=True)
    placeholders = fields.List(fields.String(), required=True)
    created_at = fields.AwareDateTime(required=True)
    client = fields.String(**required("The client that the template belongs to."))
    archived_at = fields.AwareDateTime(
        **nullable("When the template was archived; null if it is in use.")
    )


class TemplatePageSchema(Schema):
    """A page of templates in order of creation, each in its newest version."""

    templates = fields.List(fields.Nested(TemplateViewSchema), required=True)
    cursor = next_cursor()


def show_template(template: Row[Any]) -> dict[str, Any]:
    """Return a version of a template as JSON."""
    text = template.texts[template.default_language]
    return {**template._mapping, "placeholders": find_placeholders(text)}
