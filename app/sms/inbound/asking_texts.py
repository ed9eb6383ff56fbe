"""How somebody is asked to confirm a tag, in their language.  Pure.

The answer is YES in every language: the keyword is known in all of them.
"""

_TEXTS = {
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
_SAME = {"no": "nb", "nn": "nb"}


def choose_question(*languages: str | None) -> str:
    """The question in the first of these languages that there is one in, else in English.

    >>> choose_question(None, "nn-NO") == choose_question("nb")
    True
    """
    roots = ((language or "").lower().partition("-")[0] for language in languages)
    known = (_SAME.get(root, root) for root in roots)
    return _TEXTS[next((each for each in known if each in _TEXTS), "en")]
