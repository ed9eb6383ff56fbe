"""Broadcasts: create, view, control and resend them.

create.py         request -> stored broadcast -> answer
store.py          the transaction that stores a broadcast
duplicates.py     reject an equal text to mostly equal recipients
idempotency.py    Idempotency-Key: one broadcast per key
views.py          broadcasts with their counts
progress.py       place in the queue, texts a second, start and end
control.py        pause, resume, cancel
schedule.py       start, expire and finalize by the clock
resend.py         a new broadcast for unreached recipients
"""
