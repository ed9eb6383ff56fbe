"""Pages of people: search, one person.

people.py         search, the newest
person.py         one person: stop and allow texts
thread.py         texts both ways, with what was agreed between them
wording.py        names, marks and consent events in words
"""
