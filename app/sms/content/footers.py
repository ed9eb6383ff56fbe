"""Opt-out footers: appended to marketing texts without an opt-out instruction.  Pure."""

import re
from collections.abc import Mapping

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
_ALIASES = {"no": "nb", "nn": "nb"}
# Keywords count in capitals only, phrases in any case.
_KEYWORDS = re.compile(
    r"(?<![\w-])(STOP|STOPP|STOPALL|ARRET|ARRÊT|BAJA|SAIR|RET|END|QUIT|CANCEL|UNSUBSCRIBE)(?![\w-])"
)
_PHRASE = re.compile(
    r"unsubscrib|opt[ -]?out|text stop|reply stop|abmeld|abbestell|désabonn|désinscri|darse de baja"
    r"|dar de baja|anular la suscripci|afmeld|avmeld|melde deg av|meld u af|avregistrer"
    r"|avsluta prenumeration|slippa fler|disiscri|cancella iscrizione|cancelar inscri"
    r"|descadastr|wypisz|rezygn|odhlás|odhlas|dezabon|leirat|peruuta|üyelikten",
    re.IGNORECASE,
)


def has_opt_out_instruction(text: str) -> bool:
    """Return True if a text says how to opt out.

    >>> has_opt_out_instruction("20% off! Txt STOP to end")
    True
    >>> has_opt_out_instruction("Non-stop fun, no stop at all")
    False
    """
    return bool(_KEYWORDS.search(text) or _PHRASE.search(text))


def choose_footer(language: str | None, own: Mapping[str, str]) -> str:
    """Return the footer in this language: the installation's own, ours, else the English one.

    >>> choose_footer("sv-SE", {}), choose_footer("xx", {"en": "Txt STOP"})
    ('Svara STOPP för att slippa', 'Txt STOP')
    """
    root = language_root(language or "en")
    return own.get(root) or _FOOTERS.get(root) or own.get("en") or _FOOTERS["en"]


def add_footer(text: str, language: str | None, own: Mapping[str, str]) -> str:
    """Append the footer on a line of its own, unless the text has an opt-out instruction."""
    if has_opt_out_instruction(text):
        return text
    return f"{text}\n{choose_footer(language, own)}"


def language_root(language: str) -> str:
    """Return the language without its region or script, Norwegian variants as Bokmål.

    >>> language_root("sv-SE"), language_root("nn-NO")
    ('sv', 'nb')
    """
    root = language.lower().partition("-")[0]
    return _ALIASES.get(root, root)
