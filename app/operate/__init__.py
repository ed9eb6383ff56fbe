"""Operation of an installation, above all that it operates on.

audit.py       the audit log: list, seal, verify
retention.py   what is kept for a time, and what deletes it afterwards
backups/       copies of the database: create, verify, list, restore
"""
