"""The way out that marketing has to name, for texts that name none.  Pure."""

import re
from collections.abc import Mapping

# In GSM-7, so that none of them makes a text dearer but by its length.
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
_SAME = {"no": "nb", "nn": "nb"}
# A keyword to be sent stands in capitals; these say it in any.
_KEYWORD = re.compile(
    r"(?<![\w-])(STOP|STOPP|STOPALL|ARRET|ARRÊT|BAJA|SAIR|RET|END|QUIT|CANCEL|UNSUBSCRIBE)(?![\w-])"
)
_SAID = re.compile(
    r"unsubscrib|opt[ -]?out|text stop|reply stop|abmeld|abbestell|désabonn|désinscri|darse de baja"
    r"|dar de baja|anular la suscripci|afmeld|avmeld|melde deg av|meld u af|avregistrer"
    r"|avsluta prenumeration|slippa fler|disiscri|cancella iscrizione|cancelar inscri"
    r"|descadastr|wypisz|rezygn|odhlás|odhlas|dezabon|leirat|peruuta|üyelikten",
    re.IGNORECASE,
)
_SEPARATOR = "\n"


def has_opt_out_instruction(text: str) -> bool:
    """Return True if a text says how to opt out.

    >>> has_opt_out_instruction("20% off! Txt STOP to end")
    True
    >>> has_opt_out_instruction("Non-stop fun, no stop at all")
    False
    """
    return bool(_KEYWORD.search(text) or _SAID.search(text))


def choose_footer(language: str | None, own: Mapping[str, str]) -> str:
    """The way out in this language: the installation's own words, ours, else English.

    >>> choose_footer("sv-SE", {}), choose_footer("xx", {"en": "Txt STOP"})
    ('Svara STOPP för att slippa', 'Txt STOP')
    """
    root = (language or "en").lower().partition("-")[0]
    root = _SAME.get(root, root)
    return own.get(root) or _FOOTERS.get(root) or own.get("en") or _FOOTERS["en"]


def add_footer(text: str, language: str | None, own: Mapping[str, str]) -> str:
    """The text with the way out on a line of its own; as it is where it names one."""
    if has_opt_out_instruction(text):
        return text
    return text + _SEPARATOR + choose_footer(language, own)
