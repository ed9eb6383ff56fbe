"""The answers: short, in every language complete, and never taken for a person's words."""

import tomllib
from pathlib import Path

from app.sms.inbound import reply_texts
from app.sms.inbound.reply_texts import Reply, choose_reply, is_own_reply
from app.text.segments import Encoding, measure_text

_WRITTEN = tomllib.loads(Path(reply_texts.__file__).with_suffix(".toml").read_text("utf-8"))
_OF_OTHER_SCRIPTS = {"ar", "el", "he", "hi", "ja", "ko", "ru", "uk", "zh"}


def test_every_language_has_every_answer_in_one_part():
    for language, texts in _WRITTEN.items():
        assert set(texts) | {"question"} == set(Reply), language
        for text in texts.values():
            size = measure_text(text)
            assert size.parts == 1, text
            assert size.encoding is Encoding.GSM_7 or language in _OF_OTHER_SCRIPTS, text


def test_an_answer_that_comes_back_is_known_as_ours():
    for language, texts in _WRITTEN.items():
        for reply in map(Reply, texts):
            assert choose_reply(reply, language) == texts[reply]
            assert is_own_reply(f" {texts[reply]}\n")
    assert not is_own_reply("STOP")
