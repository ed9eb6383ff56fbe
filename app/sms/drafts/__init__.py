"""Drafts: broadcasts that people write on the pages, and send once.

again.py        a new draft from a broadcast
approval.py     a second person approves drafts to many
resend.py       the same for a broadcast that a user sends again
count.py        parts and cost while a text is written, and the copy of a person
numbers.py      pasted numbers, and what is wrong with them
people_file.py  a CSV file as the audience: rows, columns, values for placeholders
some.py         ten people of an audience, with the values that their text uses
store.py        save, find, list and delete drafts
request.py      draft -> BroadcastRequest, by the schema of the API
send.py         quote a draft, and send it with its quote: once
"""
