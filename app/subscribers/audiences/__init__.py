"""Audiences: which subscribers a broadcast goes to.

audience    tags (any, all, none) and conditions, as JSON and as one SQL test
conditions  a test of a field or attribute, with one meaning in SQLite and PostgreSQL
known       fields for conditions, to be chosen from a list
saved       audiences by name: list, save, change, delete
schemas     audiences in JSON bodies
routes      saved audiences of the API
"""
