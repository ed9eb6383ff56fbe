"""Keywords in texts from phones: STOP, START, HELP and YES in 65 languages.  Pure.

keyword: a word or a few words that are an intent when they are the whole text.
courtesy: words that change nothing beside a keyword, such as "please".
phrase: words that ask us to stop wherever they occur, such as "stop ... texting".
clause: the words of a text between two punctuation marks.

    classify.py      the intent of a text
    quotations.py    the words that are the sender's own
    instructions.py  "Reply STOP to unsubscribe": how a text says to opt out
    links.py         the same with a link: "Unsubscribe: acme.example/out"
    vocabulary.py    keywords and phrases, looked up by the words of a text
    normalize.py     one spelling for texts and vocabulary
    languages/       what people say, a table per language; for translators
"""
