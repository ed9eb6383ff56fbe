"""Content of messages: templates, placeholders, translations and opt-out footers.

template        a stored text with translations; each change makes a new version
placeholder     `${name}` in a text, filled with a recipient's own value or the default
footer          the opt-out instruction appended to marketing texts

placeholders.py    check and fill texts
measure.py         sizes of filled texts
languages.py       the text for a reader's language: templates, footers, replies
footers.py         footers by language
templates.py       templates and their versions
"""
