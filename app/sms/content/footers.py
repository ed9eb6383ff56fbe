"""Opt-out footers: appended to marketing texts without an opt-out instruction.  Pure."""

from collections.abc import Mapping

from app.keywords.instructions import has_instruction
from app.sms.content.languages import match_language

# All in GSM-7: a footer never forces UCS-2.
_FOOTERS = {
    "en": "Reply STOP to unsubscribe",
    "cs": "Odhlaseni: odpovezte STOP",
    "da": "Svar STOP for at afmelde",
    "de": "Abmelden: STOP antworten",
    "es": "Responda BAJA para no recibir más",
    "et": "Loobumiseks vasta STOP",
    "fi": "Peruuta vastaamalla STOP",
    "fr": "Répondez STOP pour vous désabonner",
    "hu": "Leiratkozás: válasz STOP",
    "it": "Rispondi STOP per non ricevere più SMS",
    "nb": "Svar STOPP for å melde deg av",
    "nl": "Antwoord STOP om af te melden",
    "pl": "Odpisz STOP, aby zrezygnowac",
    "pt": "Responda SAIR para cancelar",
    "ro": "Raspunde STOP pentru dezabonare",
    "sv": "Svara STOPP för att slippa",
    "tr": "Cikmak icin RET yaziniz",
}


def choose_footer(language: str | None, own: Mapping[str, str]) -> str:
    """Return the footer in this language: the installation's own, ours, else the English one.

    >>> choose_footer("sv-SE", {}), choose_footer("xx", {"en": "Txt STOP"})
    ('Svara STOPP för att slippa', 'Txt STOP')
    """
    wanted = language or "en"
    for footers in (own, _FOOTERS):
        if key := match_language(wanted, footers):
            return footers[key]
    return own.get("en") or _FOOTERS["en"]


def add_footer(text: str, language: str | None, own: Mapping[str, str]) -> str:
    """Append the footer on a line of its own, unless the text has it or another instruction."""
    footer = choose_footer(language, own)
    if has_instruction(text) or footer in map(str.strip, text.splitlines()):
        return text
    return f"{text}\n{footer}"
