"""Users of the pages: names, roles, invitations, passwords, second factors, sessions.

users      create, invite, accept, change, reset, remove, list
sessions   sign in, find, end, purge         own        change the own password, renew codes
roles      what a user may do                factor     codes of an app, recovery codes
names      spelling                          passwords  length and scrypt
tokens     of links and cookies              waits      growing waits after wrong passwords
forms      used once                         rows       the row of a user
models     tables

An operator invites a user by a link; the user then chooses a password.  Links and cookies hold a
token, the database holds its SHA-256.  Nothing here knows Flask.
"""
