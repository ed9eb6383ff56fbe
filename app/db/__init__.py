"""The database, which is the truth and the queue: SQLite by default, PostgreSQL by its URL.

Database ── write(): one transaction, committed at its end
    │       read():  a look that changes nothing
    ├── types      aware UTC times, enumerations
    └── schema     is it migrated, and is it ours
"""
