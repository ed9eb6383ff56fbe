"""Automatic replies to a person's own text, and the double opt-in question, by language.

The keywords that the replies name are in app/keywords/languages.  The question asks for YES in
every language: YES is a keyword in all of them.
"""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from app.sms.content.footers import language_root


class Reply(StrEnum):
    """The kinds of automatic replies."""

    STOP = "stop"  # you are unsubscribed
    START = "start"  # you are subscribed again
    HELP = "help"  # who we are
    CONFIRMED = "confirmed"  # your opt-in is confirmed


_REPLIES: Mapping[str, Mapping[str, str]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text("utf-8")
)
OPT_IN_QUESTIONS = {
    "en": "Reply YES to confirm that you want our messages. Without it you get none.",
    "cs": "Odpovezte YES, pokud chcete dostavat nase zpravy. Jinak zadne neprijdou.",
    "da": "Svar YES for at bekræfte, at du vil have vores beskeder. Ellers får du ingen.",
    "de": "Antworten Sie YES, wenn Sie unsere Nachrichten möchten. Sonst kommen keine.",
    "es": "Responda YES para confirmar que desea nuestros mensajes. Si no, no los enviaremos.",
    "fi": "Vastaa YES, jos haluat viestimme. Muuten emme lähetä niitä.",
    "fr": "Répondez YES pour confirmer que vous voulez nos messages. Sinon, aucun ne viendra.",
    "it": "Rispondi YES per confermare che vuoi i nostri messaggi. Altrimenti non ne arrivano.",
    "nb": "Svar YES for å bekrefte at du vil ha meldingene våre. Ellers får du ingen.",
    "nl": "Antwoord YES als u onze berichten wilt ontvangen. Anders komen er geen.",
    "pl": "Odpowiedz YES, jesli chcesz dostawac nasze wiadomosci. Inaczej zadnych nie bedzie.",
    "pt": "Responda YES se quiser receber as nossas mensagens. Caso contrario, nada enviamos.",
    "sv": "Svara YES om du vill ha våra meddelanden. Annars kommer inga.",
}
_DEFAULT = "en"
_OWN_REPLIES = frozenset(text for texts in _REPLIES.values() for text in texts.values())


def choose_reply(reply: Reply, *languages: str | None) -> str:
    """Return the reply in the first of these languages that has one, else in English.

    >>> choose_reply(Reply.STOP, None, "nn-NO")
    'Du er avmeldt og får ikke flere meldinger. Svar START for å melde deg på igjen.'
    """
    return _REPLIES[_choose_language(_REPLIES, languages)][reply]


def choose_question(*languages: str | None) -> str:
    """Return the double opt-in question in the first of these languages that has one, else English.

    >>> choose_question(None, "nn-NO") == choose_question("nb")
    True
    """
    return OPT_IN_QUESTIONS[_choose_language(OPT_IN_QUESTIONS, languages)]


def is_own_reply(text: str) -> bool:
    """Return True if a text is one of our replies, sent back to us."""
    return text.strip() in _OWN_REPLIES


def _choose_language(texts: Mapping[str, object], languages: tuple[str | None, ...]) -> str:
    roots = (language_root(language or "") for language in languages)
    return next((root for root in roots if root in texts), _DEFAULT)
