"""Users of the pages: names, roles, invitations, passwords, second factors, sessions.

users      create, invite, accept, change, reset, list     sessions  sign in, find, end, purge
roles      what a user may do                               names     spelling
passwords  length and scrypt                                tokens    of links and cookies
factor     codes of an app, recovery codes                 own       change the own password
waits      growing waits after wrong passwords              rows      the row of a user
models     tables

An operator invites a user by a link; the user then chooses a password.  Links and cookies hold a
token, the database holds its SHA-256.  Nothing here knows Flask.
"""
