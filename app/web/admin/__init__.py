"""Pages for administrators.

keys.py   API keys of the database: create, replace, revoke
caps.py   limits on what clients send: set, remove
audit.py  the audit log, and the check of its seals
"""
