"""Database access: SQLite by default, PostgreSQL by its URL.

Database ── write(): one transaction, committed at the end of the block
            read():  one snapshot, changes nothing

engine     connections, write() and read()
writers    one commit for many threads, and turns of processes on SQLite
prepared   statements that the driver runs; many values in one statement
base       base class of the tables, table_of()
types      aware UTC times, enumerations, whether a time has come
schema     is it migrated, and is it ours
migrating  run alembic
facts      key-value rows of the installation
audit      audit log
old_rows   rows whose time is over, deleted in small transactions
outages    why the database is unavailable
viewer     the wall between clients: which rows a caller sees

Statements on the hot path are module constants with bind parameters, and prepared: making a
statement costs several times what running it takes, and so does SQLAlchemy's share of running it.
"""
