"""Privacy: export and erasure of one person's data; texts and numbers deleted in time.

erasure       removing a number from everything; the hashed suppression stays
pseudonym     replaces the number in ended broadcasts, so that counts stay

erase.py            erasures: at once where possible, the rest by a job
traces.py           inbound texts, callbacks, client events, the cap
retention.py        texts and numbers of broadcasts, texts from phones: deleted when too old
after_restore.py    erasures repeated after a restore from a backup
person_export.py    messages and inbound texts of one person
"""
