"""Message text: what a text costs as an SMS, and how it could cost less.  Pure.

part: one SMS of a longer text; carriers bill each part.
GSM-7: the 7-bit alphabet with 160 characters to a part.
UCS-2: the 16-bit encoding with 70 characters to a part, for all other texts.

    segments.py      encoding and number of parts
    lookalikes.py    characters that force UCS-2, and replacements for them
    typos.py         the known name that a misspelt one was meant to be
"""
