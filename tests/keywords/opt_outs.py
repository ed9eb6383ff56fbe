"""Thousands of ways to say that one wants no more: what is said, times how people write."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Said(NamedTuple):
    """What is said in a language, with a key of VARIED."""

    language: str
    mark: str
    text: str


def _read_lines() -> Iterator[Said]:
    for line in (Path(__file__).parent / "opt_outs.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            language, mark, text = line.split(" ", 2)
            yield Said(language, mark, text)


SENTENCES = tuple(_read_lines())


def vary_keyword(text: str) -> Iterator[str]:
    """A keyword as people write it."""
    yield from (text, text.lower(), text.capitalize(), f"  {text}\n", f"{text}.", f"{text}!!!")
    yield from (f'"{text}"', f"“{text}”", f"{text} please", f"Please {text.lower()}", f"{text} now")
    yield from (f"{text} 🙏", f"🛑 {text} 🛑", f"{text} {text}", f"{text}. {text}. {text}!")
    yield from (f"{text}\nSent from my iPhone", f"Ok, {text.lower()}", f"{text}, thanks")
    yield from (f"{text}\n\nAnna", f"{text}\u200b", f"\u202a{text}\u202c", f"No! {text}!")
    if len(text) > 3 and text.isalpha() and text.isascii():
        yield from (" ".join(text.lower()), ".".join(text) + ".", "-".join(text), "_".join(text))
        if text[-1] != text[-2]:
            yield text + 3 * text[-1]
        yield "".join(chr(ord(letter) + 0xFEE0) for letter in text)


def vary_sentence(text: str) -> Iterator[str]:
    """A sentence as people write it."""
    yield from (text, text.upper(), text.capitalize(), f"{text}.", f"{text}!!!", f"{text} 😡")
    yield from (f"Please {text}", f"{text} please", f"Hello, {text}. Thanks", f"STOP. {text}")
    yield text.replace("'", "’")


def vary_refusal(text: str) -> Iterator[str]:
    """A refusal that has little beside it."""
    yield from (text, text.upper(), f"{text}!!!", f"Hello, {text}. Thanks")


VARIED = {"=": vary_keyword, ":": vary_sentence, "~": vary_refusal}
