"""Database access: SQLite by default, PostgreSQL by its URL.

Database ── write(): one transaction, committed at the end of the block
            read():  one snapshot, changes nothing

base       base class of the tables, table_of()    lists      many values in one statement
prepared   statements that the driver runs         writers   one commit for many threads
types      aware UTC times, enumerations           facts      key-value rows of the installation
schema     is it migrated, and is it ours          audit      audit log
migrating  run alembic                              outages    why the database is unavailable
old_rows   rows whose time is over, deleted in small transactions
engine     connections, write() and read()
viewer     the wall between clients: which rows a caller sees

Statements on the hot path are module constants with bind parameters, and prepared: making a
statement costs several times what running it takes, and so does SQLAlchemy's share of running it.
"""
