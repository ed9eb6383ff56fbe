"""Pages of people: search, one person, imports, opt-outs.

people.py         search, the newest
person.py         one person: stop and allow texts
add.py, erase.py  add a person, erase one
change.py         change the details of one, and give all that is stored as a file
imports.py        import of a file: its list, progress, refused rows
columns.py        the columns of a file and its first rows
row_ledger.py     lines that add up to every row of a file
suppressions.py   who opted out, and the texts that may mean STOP
thread.py         texts both ways, with what was agreed between them
wording.py        names, marks and consent events in words
"""
