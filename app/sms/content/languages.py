"""Choice of a text by language: the fallbacks of Unicode CLDR, for templates, footers and replies.

Equal are the codes of one language (`nb`, `no` and `nn`; `iw` and `he`).  The script follows from
the region where the tag has none: zh-TW and zh-HK are zh-Hant.  Among texts of one language and
script the wanted region counts first, then its group (en-AU: en-GB; es-MX: es-419), then the text
without a region, then the usual region (de: de-DE).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

# CLDR's aliases of languages, and macrolanguages that are one of their languages.
_ALIASES = {
    "no": "nb", "nn": "nb", "nor": "nb", "nob": "nb", "nno": "nb", "iw": "he", "in": "id",
    "ji": "yi", "jw": "jv", "mo": "ro", "tl": "fil", "tgl": "fil", "sh": "sr-Latn", "cmn": "zh",
    "chi": "zh", "zho": "zh", "yue": "zh-Hant", "zsm": "ms", "may": "ms",
    "pes": "fa", "prs": "fa", "per": "fa",
    "fas": "fa", "arb": "ar", "swh": "sw", "ekk": "et", "lvs": "lv", "als": "sq", "gsw": "de",
    "azj": "az", "uzn": "uz", "khk": "mn", "npi": "ne", "ory": "or", "eng": "en", "ger": "de",
    "deu": "de", "fre": "fr", "fra": "fr", "spa": "es", "ita": "it", "por": "pt", "dut": "nl",
    "nld": "nl", "swe": "sv", "dan": "da", "fin": "fi", "pol": "pl", "cze": "cs", "ces": "cs",
    "hun": "hu", "rum": "ro", "ron": "ro", "tur": "tr", "rus": "ru", "ukr": "uk", "gre": "el",
    "ell": "el", "heb": "he", "ara": "ar", "hin": "hi", "jpn": "ja", "kor": "ko", "vie": "vi",
    "tha": "th", "ind": "id", "est": "et",
}  # fmt: skip
# CLDR's likely scripts: of a language, and of a language in a region.
_SCRIPTS = {
    "zh": "Hans", "zh-TW": "Hant", "zh-HK": "Hant", "zh-MO": "Hant", "sr": "Cyrl", "sr-ME": "Latn",
    "sr-RO": "Latn", "sr-TR": "Latn", "pa": "Guru", "pa-PK": "Arab", "az": "Latn", "az-IR": "Arab",
    "az-IQ": "Arab", "az-RU": "Cyrl", "uz": "Latn", "uz-AF": "Arab", "uz-CN": "Cyrl", "kk": "Cyrl",
    "kk-CN": "Arab", "kk-MN": "Arab", "ky": "Cyrl", "ky-CN": "Arab", "ky-TR": "Latn", "mn": "Cyrl",
    "mn-CN": "Mong", "ku": "Latn", "ku-IQ": "Arab", "tg": "Cyrl", "tg-PK": "Arab", "bs": "Latn",
    "ms": "Latn", "ms-CC": "Arab", "sd": "Arab", "sd-IN": "Deva", "ha": "Latn", "ha-SD": "Arab",
}  # fmt: skip
# Those of other languages that are not written in Latin.
_SCRIPTS |= {
    language: script
    for script, languages in {
        "Cyrl": "ru uk bg be mk", "Arab": "ar fa ur ps ug", "Deva": "hi mr ne", "Hebr": "he yi",
        "Grek": "el", "Jpan": "ja", "Kore": "ko", "Thai": "th", "Armn": "hy", "Geor": "ka",
        "Beng": "bn as", "Gujr": "gu", "Taml": "ta", "Telu": "te", "Knda": "kn", "Mlym": "ml",
        "Orya": "or", "Sinh": "si", "Mymr": "my", "Khmr": "km", "Laoo": "lo", "Ethi": "am ti",
    }.items()
    for language in languages.split()
}  # fmt: skip
# CLDR's likely regions, where they are not the language's own code, as DE is of de.
_REGIONS = {
    "zh-Hans": "CN", "zh-Hant": "TW", "zh-MO": "HK", "en": "US", "pt": "BR", "sv": "SE", "da": "DK",
    "nb": "NO", "ar": "EG", "fa": "IR", "el": "GR", "cs": "CZ", "uk": "UA", "et": "EE", "sl": "SI",
    "sr": "RS", "sq": "AL", "bs": "BA", "ca": "ES", "he": "IL", "hi": "IN", "bn": "BD", "ta": "IN",
    "ur": "PK", "pa": "IN", "ms": "MY", "vi": "VN", "ja": "JP", "ko": "KR", "sw": "TZ", "fil": "PH",
}  # fmt: skip
# Scripts that readers of the other one read, too.
_READABLE = {("zh", "Hant", "Hans"), ("zh", "Hans", "Hant"), ("sr", "Latn", "Cyrl"),
             ("sr", "Cyrl", "Latn")}  # fmt: skip
# The regions of each language that CLDR does not count to the group of all others.
_HOMES = {
    "en": ("US", "AS", "GU", "MH", "MP", "PH", "PR", "UM", "VI"), "pt": ("BR",),
    "es": ("ES", "EA", "GQ", "IC", "PH"),
}  # fmt: skip
_HOME_OF_OTHERS = {"en": ("001", "GB"), "pt": ("PT",), "es": ("419", "MX", "US")}


class _Tag(NamedTuple):
    written: str
    language: str
    script: str
    region: str


def match_language(wanted: str | None, available: Iterable[str]) -> str | None:
    """Return the available language that suits a reader of another, or None.

    >>> match_language("zh-TW", ["en", "zh-Hans", "zh-Hant"]), match_language("nb", ["en", "no"])
    ('zh-Hant', 'no')
    """
    return _match(wanted, tuple(available)) if wanted else None


@lru_cache(maxsize=1024)
def _match(wanted: str, candidates: Sequence[str]) -> str | None:
    if wanted in candidates:
        return wanted
    reader = _read_tag(wanted)
    tags = {key: _read_tag(key) for key in candidates}
    ranked = {key: (_rank(reader, tag), *_likeness(reader, tag)) for key, tag in tags.items()}
    best = max(ranked, key=ranked.__getitem__, default=None)
    return best if best is not None and ranked[best][0] else None


def choose_language(wanted: str | None, texts: Iterable[str], default: str | None) -> str | None:
    """Return the language of a text for a reader: the one that suits, else the default.

    >>> choose_language("pt-BR", ["en", "pt"], "en"), choose_language("sv", ["en"], "en")
    ('pt', 'en')
    """
    return match_language(wanted, texts) or default


def _read_tag(tag: str) -> _Tag:
    """Return the parts of a tag of RFC 5646, the script as CLDR adds it."""
    first, *rest = tag.replace("_", "-").lower().split("-")
    # A language behind another is the one meant: zh-yue.
    if rest and len(rest[0]) == 3 and rest[0] in _ALIASES:
        first, *rest = rest
    alias, _, script = _ALIASES.get(first, first).partition("-")
    region = ""
    for part in rest:
        if len(part) == 4 and part.isalpha():
            script = part.title()
        elif len(part) in (2, 3) and not region:
            region = part.upper()
    likely = _SCRIPTS.get(f"{alias}-{region}") or _SCRIPTS.get(alias, "Latn")
    return _Tag(first, alias, script or likely, region)


def _rank(reader: _Tag, text: _Tag) -> int:
    """Return how well a text suits a reader; 0 if not at all."""
    if reader.language != text.language:
        return 0
    if reader.script != text.script:
        return int((reader.language, reader.script, text.script) in _READABLE)
    if reader.region == text.region:
        return 6
    if _is_of_others(reader) and text.region in _HOME_OF_OTHERS.get(text.language, ()):
        return 5
    if not text.region:
        return 4
    if _is_of_others(reader) == _is_of_others(text):
        return 3
    return 2


def _likeness(reader: _Tag, text: _Tag) -> tuple[bool, int]:
    """Return what counts among texts that suit alike: the usual region, and nearness of the code.

    Of Norwegian, nb is the usual code.
    """
    keys = (f"{text.language}-{part}" for part in (reader.region, text.script))
    usual = next(filter(None, map(_REGIONS.get, (*keys, text.language))), text.language.upper())
    is_near = 2 if reader.written == text.written else int(text.written in (text.language, "no"))
    return text.region == usual, is_near


def _is_of_others(tag: _Tag) -> bool:
    """Return True for a region outside the home of the language, such as en-AU or es-MX."""
    return bool(tag.region) and tag.language in _HOMES and tag.region not in _HOMES[tag.language]
