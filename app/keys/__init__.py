"""API keys in the database, beside those of API_KEYS: each ends alone, without a restart.

secret.py    the text of a key, with a checksum
models.py    the table
store.py     create, rotate, revoke, list
live.py      find the key of a request, and note that it was used
restored.py  the keys that a restore brought back
"""
