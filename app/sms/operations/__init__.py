"""Operation of the service: is it consistent, is it alive, was its database restored.

invariants.py  what must always hold; each check yields a sentence per violation
heartbeat.py   the last sweep and the last consistency check, for /ready
restore.py     restore mode, after the database came from a backup
"""
