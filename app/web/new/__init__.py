"""Pages of a new broadcast, saved as a draft at each step.

drafts.py      drafts: list, begin, delete
text.py        1: what they read, counted while it is written
audience.py    2: who gets it, counted while it is chosen
reading.py     texts in pieces, as they are read
audiences.py   saved audiences: list, rename, delete
conditions.py  conditions as fields of a form
list_file.py   a CSV file as the audience, its columns and its faults
when.py        3: sender, kind, start, end, and when it is sent where
confirm.py     4: what will happen, and the button that does it, once
moved.py       changes between a quote and the press of the button
send_times.py  when it is sent in the zones of the people, drawn and in words
frame.py       what the steps have in common
figures.py     money, countries and reasons in words; the words of the button
"""
