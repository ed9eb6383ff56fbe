"""Backups of the database: a file and its manifest, both readable by their owner only.

backup     one snapshot of the whole database, taken while the service works
manifest   what a backup is and contains, as JSON beside it; without personal data

create.py     make, check and publish a backup; delete those beyond BACKUPS_KEPT
verify.py     compare a backup with its manifest, read all of it, say what it contains
restore.py    bring a backup back into an empty database, in restore mode
manifest.py   the manifest, and the files of a folder of backups
sqlite.py     copies of SQLite: VACUUM INTO
postgres.py   copies of PostgreSQL: pg_dump and pg_restore
contents.py   migration, owner, rows and checks of a snapshot
"""
