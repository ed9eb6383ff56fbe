"""Import of subscribers from CSV files, in the background and safe against crashes.

An import is created with its options, then its file is uploaded, then workers process it.

- routes, schemas: the API; service: create, view, list, cancel, export the refusals, purge
- upload: the file -> chunks in the database; recognises the columns; stages a file for a page
- preview: the first rows of a staged file, with what is wrong with them
- job: lease, passes through the file, progress; one transaction for some rows
- denials: the numbers that a row denies, for all rows of the file
- rows: rows -> entries for `profiles.upsert`, and the cells for which rows are refused

Vocabulary: a pass goes through the whole file: the first records denials, a checking pass (all or
nothing) rolls back what it writes.  Workers take the clients' imports in turns.  A row is created,
updated, unchanged, merged (into an earlier row) or refused.
"""
