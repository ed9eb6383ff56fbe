"""Operation of the service: is it consistent, is it alive, was its database restored, who did what.

invariants.py  what must always hold; each check yields a sentence per violation
history.py     what people did to a broadcast
heartbeat.py   the last sweep and the last consistency check, for /ready
restore.py     restore mode, after the database came from a backup
"""
