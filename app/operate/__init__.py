"""Operation of an installation, above all that it operates on.

audit.py       the audit log: list, seal, verify
backups/       copies of the database: create, verify, list, restore
"""
